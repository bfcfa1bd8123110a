// -- rows: a form with a field for each column, or a CSV file of many --------------------------------------------

const FEW_CHOICES = 12, ROWS_AT_ONCE = 500, BYTES_AT_ONCE = 2 ** 20;
const make = (tag, options = {}) => Object.assign(document.createElement(tag), options);
let controls = [];  // {name, kind, control, file}, one for each column; none where rows are typed as JSON

const isPast = () => model.columns.some((column) => column.kind === "rows");
const isJson = () => model.columns.some((column) => column.kind === "json");
// the values of a row by column; a model of one column takes the value alone
const asRow = (example) => (model.inputs.length > 1 || model.inputs[0].kind === "table" ? example ?? {} : { [model.columns[0].name]: example });
const asInput = (row) => (model.inputs.length > 1 || model.inputs[0].kind === "table" ? row : row[model.columns[0].name]);

function buildForm() {
  $("rows").hidden = false;
  if (isJson() || isPast()) {
    $("json-part").hidden = false;
    if (isPast()) document.querySelector("#json-part label").textContent = text.past;
  } else {
    controls = model.columns.map(addField);
  }
  $("csv").hidden = isJson() || controls.some(({ kind }) => kind === "file");
  $("csv-name").textContent = isPast() ? text["load-csv"] : text.csv;
  fill(model.examples[0]);
}

function addField(column, i) {
  const id = `field-${i}`;
  const box = make("div", { className: column.kind === "text" ? "field wide" : "field" });
  let control;
  if (column.kind === "text") control = make("textarea", { rows: model.columns.length > 1 ? 2 : 4 });
  else if (column.kind === "category" && column.choices.length <= FEW_CHOICES) {
    control = make("select");
    control.append(new Option(text.none_given, ""), ...column.choices.map((name) => new Option(visible(name), name)));
  } else if (column.kind === "file") {
    control = make("input", { type: "file" });
  } else {
    control = make("input", { type: "text", autocomplete: "off", spellcheck: false });
    const dated = model.examples.every((e) => /^\d{4}-\d\d-\d\d$/.test(asRow(e)[column.name] ?? ""));
    if (column.kind === "date" && dated) control.type = "date";
    if (column.kind === "number") control.inputMode = "decimal";
    if (column.choices.length) {
      const list = make("datalist", { id: `choices-${i}` });
      list.append(...column.choices.map((name) => make("option", { value: name })));
      control.setAttribute("list", list.id);
      box.append(list);
    }
  }
  control.id = id;
  box.prepend(make("label", { htmlFor: id, textContent: visible(column.name) }), control);
  $("fields").append(box);
  const entry = { name: column.name, kind: column.kind, control, file: null };
  if (column.kind === "file") {
    entry.heard = model.inputs.find(({ name }) => name === column.name)?.kind === "audio";
    entry.preview = make(entry.heard ? "audio" : "img", entry.heard ? { controls: true } : { alt: visible(column.name) });
    box.append(entry.preview);
    control.accept = entry.heard ? "audio/*" : "image/*";
    control.addEventListener("change", () => control.files.length && preview(entry, control.files[0]));
  }
  return entry;
}
function preview(entry, blob) {
  URL.revokeObjectURL(entry.preview.src);
  entry.preview.src = URL.createObjectURL(blob);
}

function fill(example) {
  if (isPast()) $("json").value = toCsv(model.columns.map(({ name }) => name), example ?? []);
  else if (isJson()) $("json").value = `[\n  ${JSON.stringify(example).replaceAll(/,(?=[-\d[])/g, ", ")}\n]`;
  const row = controls.length ? asRow(example) : {};
  for (const entry of controls) {
    const value = row[entry.name];
    if (entry.kind === "file") {
      entry.file = value ?? null;
      entry.control.value = "";
      if (value) preview(entry, new Blob([bytesOf(value)], entry.heard ? {} : { type: "image/*" }));
    } else entry.control.value = [value ?? ""].flat().join(" ");
  }
  showCode();
}

// a number as a number where the training data has them so; as it is typed elsewhere: the model knows how to read it
function valueOf({ name, kind, control, file }) {
  if (kind === "file") return file;
  if (kind === "text") return control.value;
  const typed = control.value.trim();
  if (typed === "") return null;
  const plain = kind === "number" && /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(typed);
  return plain && model.examples.every((e) => typeof (asRow(e)[name] ?? 0) === "number") ? Number(typed) : typed;
}
async function readFiles() {
  for (const entry of controls.filter(({ kind, control }) => kind === "file" && control.files.length)) {
    const bytes = new Uint8Array(await entry.control.files[0].arrayBuffer());
    entry.file = btoa(bytes.reduce((letters, byte) => letters + String.fromCharCode(byte), ""));
  }
}

// what the form holds, as `inputs`
function typedInputs() {
  if (controls.length) return [asInput(Object.fromEntries(controls.map((entry) => [entry.name, valueOf(entry)])))];
  const typed = $("json").value.trim();
  if (isPast()) return [rowsOf(typed).map((row) => Object.fromEntries(model.columns.map(({ name }) => [name, asNumber(row[name])])))];
  if (/^[-+.\d][-+.\deE,;\s]*$/.test(typed)) {  // steps of a series, a line for each of its channels
    const lines = typed.split(/\r?\n/).map((line) => line.split(/[,;\s]+/).filter(Boolean).map(Number));
    return [lines.length > 1 ? lines : lines[0]];
  }
  const parsed = JSON.parse(typed);
  return Array.isArray(parsed) ? parsed : parsed.inputs ?? [parsed];
}
const asNumber = (cell) => (cell === "" || cell === undefined ? null : Number.isFinite(Number(cell)) ? Number(cell) : cell);

$("rows").addEventListener("submit", async (event) => {
  event.preventDefault();
  notice("");
  let inputs;
  try {
    await readFiles();
    inputs = typedInputs();
  } catch (error) {
    return notice(isPast() ? error.message : text["not-json"] + JSON.stringify([model.example]));
  }
  showCode();
  try {
    const predictions = await ask(JSON.stringify({ inputs }), "application/json");
    for (let i = predictions.length - 1; i >= 0; i -= 1) show(addCard(text.row(inputs.length > 1 ? i + 1 : asked += 1)), predictions[i]);
  } catch (error) {
    notice(error.message);
  }
});
let asked = 0;
$("rows").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("rows").requestSubmit();
});
$("rows").addEventListener("input", () => showCode());

// -- CSV -----------------------------------------------------------------------------------------------------------

function parseCsv(content) {
  const body = content.replace(/^\ufeff/, "");
  const first = body.split(/[\r\n]/, 1)[0].replaceAll(/"[^"]*"/g, "");
  const comma = [",", ";", "\t"].reduce((best, c) => (first.split(c).length > first.split(best).length ? c : best), ",");
  const lines = [];
  let cells = [], cell = "", quoted = false, opened = 0;
  for (let i = 0; i < body.length; i += 1) {
    const c = body[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (body[i + 1] === '"') { cell += c; i += 1; }
      else quoted = false;
    } else if (c === '"' && cell === "") { quoted = true; opened = lines.length + 1; }
    else if (c === comma) { cells.push(cell); cell = ""; }
    else if (c === "\n" || c === "\r") {
      if (c === "\r" && body[i + 1] === "\n") i += 1;
      lines.push([...cells, cell]);
      cells = []; cell = "";
    } else cell += c;
  }
  if (quoted) throw new Error(text["bad-csv"](opened));
  if (cell !== "" || cells.length) lines.push([...cells, cell]);
  return lines.filter((line) => line.length > 1 || line[0].trim() !== "");
}
// rows as objects by the names in the first line, without what the model does not know
function rowsOf(content) {
  const [names, ...lines] = parseCsv(content);
  if (!lines.length) throw new Error(text["empty-csv"]);
  const places = names.map((name) => name.trim());
  const absent = model.columns.filter(({ name }) => !places.includes(name.trim()));
  if (absent.length) throw new Error(text["missing-columns"](absent.map(({ name }) => visible(name)).join(", ")));
  return lines.map((line) => Object.fromEntries(places.map((name, i) => [name, line[i] ?? ""])));
}
// a cell that a spreadsheet would take for a formula is made a text
function toCell(value) {
  const cell = value === null || value === undefined ? "" : String(value);
  const safe = /^[=+\-@\t\r]/.test(cell) && !Number.isFinite(Number(cell)) ? `'${cell}` : cell;
  return /[",;\r\n\t]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
const toCsv = (names, rows) => [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.map(toCell).join(",")).join("\r\n");

async function predictFile(file) {
  const rows = rowsOf(await file.text());
  const names = Object.keys(rows[0]), known = model.columns.map(({ name }) => name);
  const found = [];
  for (let start = 0; start < rows.length;) {
    const inputs = [];
    let bytes = 0;
    while (start + inputs.length < rows.length && inputs.length < Math.min(ROWS_AT_ONCE, model.limits.max_rows) && bytes < BYTES_AT_ONCE) {
      const row = rows[start + inputs.length];
      inputs.push(asInput(Object.fromEntries(known.map((name) => [name, row[name.trim()] || null]))));
      bytes += JSON.stringify(inputs.at(-1)).length;
    }
    // one that fails alone fails the whole request: two of it never are alone
    const answers = await ask(JSON.stringify({ inputs: inputs.length > 1 ? inputs : [inputs[0], inputs[0]] }), "application/json", false);
    found.push(...answers.slice(0, inputs.length));
    start += inputs.length;
    $("csv-status").textContent = text.working(start, rows.length);
  }
  const written = rows.map((row, i) => {
    const { label, confidence, error } = found[i];
    return [i + 1, ...names.map((name) => row[name]), [label ?? ""].flat().join("|"), confidence, error];
  });
  const lines = [["row", ...names, "prediction", "confidence", "error"], ...written].map((line) => line.map(toCell).join(","));
  return { content: `\ufeff${lines.join("\r\n")}\r\n`, rows: rows.length, failed: found.filter(({ error }) => error).length, extra: names.filter((name) => !known.some((k) => k.trim() === name)) };
}

$("csv-file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  notice("");
  try {
    if (isPast()) {
      $("json").value = await file.text();
      rowsOf($("json").value);
      return showCode();
    }
    const { content, rows, failed, extra } = await predictFile(file);
    const link = $("csv-link");
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
    link.download = file.name.replace(/(\.\w+)?$/, "-predictions.csv");
    link.textContent = text.download(rows);
    link.hidden = false;
    const notes = [failed ? text.failed(failed) : "", extra.length ? text["extra-columns"](extra.map(visible).join(", ")) : ""];
    $("csv-status").textContent = notes.filter(Boolean).join(" · ");
    link.focus();
  } catch (error) {
    $("csv-status").textContent = "";
    notice(error.message);
  }
});

// -- examples, and the same from a program ---------------------------------------------------------------------------

function offerExamples() {
  if (!model.examples.length || (model.examples.length < 2 && model.accepts !== "files")) return;
  $("examples").hidden = false;
  model.examples.forEach((example, i) => {
    const name = text.example(i + 1);
    const button = make("button", { type: "button", className: "example", textContent: name });
    if (model.accepts === "files") {
      const blob = new Blob([bytesOf(example)], { type: hears() ? "" : "image/*" });
      const file = new File([blob], name);
      if (!hears()) button.replaceChildren(make("img", { src: URL.createObjectURL(blob), alt: name }));
      button.addEventListener("click", () => take([file]));
    } else button.addEventListener("click", () => fill(example));
    $("examples").append(button);
  });
}

function pythonOf(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(pythonOf).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, v]) => `${JSON.stringify(key)}: ${pythonOf(v)}`).join(", ")}}`;
  return JSON.stringify(value);
}
const quoted = (argument) => `'${argument.replaceAll("'", "'\\''")}'`;

function showCode(name) {
  const to = address();
  if (model.accepts === "files") {
    const file = name && /^[\w. -]+\.\w+$/.test(name) ? name : hears() ? "sound.wav" : "picture.jpg";
    $("curl").textContent = `curl ${quoted(to)} -F ${quoted(`file=@${file}`)}`;
    $("python").textContent = ["import json, pathlib, urllib.request", "",
      `data = pathlib.Path(${pythonOf(file)}).read_bytes()`,
      `request = urllib.request.Request(${pythonOf(to)}, data, {"Content-Type": "application/octet-stream"})`,
      'print(json.load(urllib.request.urlopen(request))["predictions"])'].join("\n");
    return;
  }
  let inputs = [model.example];
  try {
    inputs = typedInputs();
  } catch {
    return;  // half typed: what is shown stays
  }
  // a file stands there by its name: its bytes would hide the rest
  const files = controls.filter(({ kind, file }) => kind === "file" && file);
  let body = quoted(JSON.stringify({ inputs })), rows = pythonOf(inputs);
  for (const { file, name, control, heard } of files) {
    const chosen = control.files[0]?.name ?? "", path = /^[\w.-]+$/.test(chosen) ? chosen : `${name.replaceAll(/\W/g, "_")}.${heard ? "wav" : "png"}`;
    body = body.replace(file, () => `'"$(base64 < ${path} | tr -d '\\n')"'`);
    rows = rows.replace(JSON.stringify(file), () => `base64.b64encode(pathlib.Path(${pythonOf(path)}).read_bytes()).decode()`);
  }
  $("curl").textContent = `curl ${quoted(to)} -H 'Content-Type: application/json' \\\n    -d ${body}`;
  $("python").textContent = [files.length ? "import base64, json, pathlib, urllib.request" : "import json, urllib.request", "", `inputs = ${rows}`,
    'body = json.dumps({"inputs": inputs}).encode()',
    `request = urllib.request.Request(${pythonOf(to)}, body, {"Content-Type": "application/json"})`,
    'print(json.load(urllib.request.urlopen(request))["predictions"])'].join("\n");
}
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", async () => {
    const source = $(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {  // over plain HTTP browsers have no clipboard
      getSelection().selectAllChildren(source);
      document.execCommand("copy");
    }
    button.textContent = text.copied;
  });
}
begin();
