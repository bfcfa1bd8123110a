// -- the table -----------------------------------------------------------------------------------------------

const COLUMNS = [
  ["choose"], ["name", (r) => r.name], ["kind", (r) => r.kind ?? "", "wide"], ["model", (r) => r.model ?? "", "wide"],
  ["value", (r) => r.value == null ? -Infinity : r.higher_is_better ? r.value : -r.value], ["state", (r) => r.state],
  ["epochs", (r) => r.epochs_done ?? 0, "wide"], ["time", (r) => r.seconds ?? 0, "wide"], ["changed", (r) => r.changed ?? Infinity, "wide"], ["actions"],
];
const QUICK = 1500, SLOW = 8000;
const GOING = ["training", "starting"];
let board = { runs: [] }, sorted = { by: "changed", down: true }, opened = null, view = "mistakes";
const chosen = new Set();

for (const [name, by, kind = ""] of COLUMNS) {
  const cell = make("th", { scope: "col", className: kind });
  if (by) cell.append(make("button", { type: "button", onclick: () => { sorted = { by: name, down: sorted.by === name ? !sorted.down : name !== "name" }; drawRuns(); } }, text[name]));
  else cell.setAttribute("aria-label", text[name]);
  cell.dataset.by = name;
  $("runs").tHead.rows[0].append(cell);
}
function shownRuns() {
  const asked = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const said = (r) => [r.name, r.data, r.kind, r.model, r.state, text.states[r.state]].join(" ").toLowerCase();
  const by = COLUMNS.find(([name]) => name === sorted.by)[1];
  const order = (a, b) => (by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : 0) * (sorted.down ? -1 : 1);
  return board.runs.filter((r) => asked.every((word) => said(r).includes(word))).sort(order);
}
function drawRuns() {
  for (const cell of $("runs").tHead.rows[0].cells) {
    if (cell.dataset.by === sorted.by) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
  const focused = document.activeElement?.dataset?.key;
  $("runs").tBodies[0].replaceChildren(...shownRuns().map(drawRun));
  if (focused) $("runs").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  $("empty").hidden = board.runs.length > 0;
}
function drawRun(r) {
  const pick = make("input", { type: "checkbox", checked: chosen.has(r.name), "aria-label": `${text.choose} ${r.name}`, "data-key": `pick ${r.name}` });
  pick.addEventListener("change", () => { pick.checked ? chosen.add(r.name) : chosen.delete(r.name); drawRuns(); refreshChosen(); });
  const name = make("th", { scope: "row", className: "name" }, make("button", { type: "button", "data-key": `open ${r.name}`, onclick: () => open(r.name) }, r.name));
  if (r.error) name.append(make("span", { className: "why" }, r.error));
  const figure = make("td", { className: "n", title: r.metric ?? "" }, number(r.value), make("span", { className: "quiet" }, r.value == null ? "" : ` ${r.metric}`));
  const row = make("tr", { className: chosen.has(r.name) ? "chosen" : "" }, make("td", {}, r.run ? pick : ""), name,
    make("td", { className: "wide" }, r.kind ?? ""), make("td", { className: "wide" }, r.model ?? ""), figure,
    make("td", {}, make("span", { className: `state ${r.state}` }, text.states[r.state])),
    make("td", { className: "wide n" }, r.epochs ? text.of(r.epochs_done, r.epochs) : ""), make("td", { className: "wide n" }, duration(r.seconds)),
    make("td", { className: "wide" }, r.changed ? new Date(r.changed * 1000).toLocaleString(language) : ""), actions(r));
  row.dataset.name = r.name;
  return row;
}
function actions(r) {
  const cell = make("td", {}), all = make("div", { className: "actions" });
  if (r.reported) all.append(make("a", { href: `runs/${encodeURIComponent(r.name)}/report`, target: "_blank", rel: "noopener", "data-key": `report ${r.name}` }, text.report));
  const act = (what) => make("button", { type: "button", "data-key": `${what} ${r.name}`, "aria-label": `${text[what]} ${r.name}`, onclick: async (event) => {
    event.target.disabled = true;
    if (what === "stop") event.target.textContent = text.stopping;
    if (!(await changes(of(r.name, `/${what}`)))) event.target.disabled = false;
    tick(QUICK);
  } }, text[what]);
  if (mayChange() && GOING.includes(r.state)) all.append(act("stop"));
  if (mayChange() && r.state === "stopped") all.append(act("resume"));
  cell.append(all);
  return cell;
}
const mayChange = () => board.changes && token;

// -- staying up to date: what trains is asked about often, and only while somebody looks ----------------------------

let timer = 0;
function tick(after) {
  clearTimeout(timer);
  timer = setTimeout(refresh, after);
}
async function refresh() {
  try {
    const now = await reads("api/runs"), same = now === board;
    board = now;
    if ($("notice").textContent === text.offline) notice("");
    if (!same) {
      const going = board.runs.filter((r) => GOING.includes(r.state)).length;
      $("folder").textContent = board.folder;
      $("version").textContent = `Flambeau ${board.version}`;
      const may = board.changes ? (token ? "" : text.locked) : text["read-only"];
      $("about").textContent = [text.about(board.runs.length, going), may].filter(Boolean).join(" · ");
      $("new").hidden = !mayChange();
      $("suggested").replaceChildren(...board.suggested.map((value) => make("option", { value })));
      drawRuns();
    }
    await refreshChosen();
    if (opened) await drawView();
  } catch (error) {
    notice(error instanceof TypeError ? text.offline : error.message);
  }
  if (!document.hidden) tick(board.runs.some((r) => GOING.includes(r.state)) || view === "labels" ? QUICK : SLOW);
}
document.addEventListener("visibilitychange", () => document.hidden || refresh());

// -- curves over one another, two runs side by side -----------------------------------------------------------------

let drawn = null;
async function refreshChosen() {
  const there = new Set(board.runs.filter((r) => r.run).map((r) => r.name));
  const shown = [...chosen].filter((name) => there.has(name));
  const going = board.runs.filter((r) => r.state === "training" && r.run).map((r) => r.name);
  const names = shown.length ? shown : going;
  $("curves").hidden = !names.length;
  if (names.length) await drawCurves(names);
  $("compare").hidden = shown.length !== 2;
  if (shown.length === 2) await drawComparison(shown);
}
async function drawCurves(names) {
  const asked = new URLSearchParams(names.map((name) => ["run", name]));
  asked.append("metric", $("metric").value);
  asked.append("language", language === "zh" ? "zh-CN" : "en");
  const found = await reads(`api/curves?${asked}`);
  if (found === drawn) return;
  drawn = found;
  $("metric").replaceChildren(...found.choices.map((name) => make("option", { value: name, selected: name === found.chosen }, name)));
  $("chart").innerHTML = found.html;  // made by the report's own code, which escapes all that it is given
  $("curves").hidden = !found.html;
}
$("metric").addEventListener("change", () => refreshChosen());
async function drawComparison(names) {
  const found = await reads(`api/compare?${new URLSearchParams(names.map((name) => ["run", name]))}`);
  $("compare-note").replaceChildren(text[found.same_rows ? "same-rows" : "other-rows"], " ", make("code", {}, `flambeau compare ${names.map((n) => `${board.folder}/${n}`).join(" ")}`));
  fill($("compare-metrics"), [text.metric, ...found.names], found.metrics);
  fill($("compare-settings"), [text.setting, ...found.names], found.settings);
}

// -- one run ---------------------------------------------------------------------------------------------------

const VIEWS = ["mistakes", "labels", "log"];
for (const name of VIEWS) {
  $("tabs").append(make("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": name, onclick: () => { view = name; drawView(); } }, text[name]));
}
$("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.stopPropagation();
  view = VIEWS[(VIEWS.indexOf(view) + step + VIEWS.length) % VIEWS.length];
  drawView();
  $(`tab-${view}`).focus();
});
async function open(name) {
  opened = name;
  if (!board.runs.find((r) => r.name === name)?.run) view = "log";
  $("one").hidden = false;
  $("one-name").textContent = name;
  shownMistakes = null;
  labelsOf(null);
  await drawView();
  $("one-name").focus();
}
$("one-close").addEventListener("click", () => { opened = null; $("one").hidden = true; });
let shownMistakes = null;
async function drawView() {
  for (const name of VIEWS) {
    $(name).hidden = name !== view;
    $(`tab-${name}`).setAttribute("aria-selected", name === view);
    $(`tab-${name}`).tabIndex = name === view ? 0 : -1;
  }
  try {
    if (view === "mistakes") drawMistakes((await reads(`${of(opened, "/mistakes")}?language=${language === "zh" ? "zh-CN" : "en"}`)).mistakes);
    else if (view === "log") $("log").textContent = (await reads(of(opened, "/log"))).log || text["no-log"];
    else drawLabels(await reads(of(opened, "/labels")));
  } catch (error) {
    notice(error.message);
  }
}
function drawMistakes(mistakes) {
  if (mistakes === shownMistakes) return;
  shownMistakes = mistakes;
  const cards = mistakes.map((one) => {
    const picture = make("div", { className: "thumb" });
    picture.innerHTML = one.html;  // taken apart and written anew by the server
    const says = (kind, said, share) => make("div", { className: `row ${kind}` }, make("span", { className: "answer" }, said),
      ...(share == null ? [] : [` ${percent(share)}`, make("meter", { value: share, "aria-hidden": "true" })]));
    return make("article", { className: "card mistake" }, picture, says("hit", text.was(one.true), one.probability),
      says("miss", text.taken(one.predicted), one.confidence), make("p", { className: "place", title: one.place }, one.place));
  });
  $("mistakes").replaceChildren(cards.length ? make("div", { className: "gallery" }, ...cards) : make("p", { className: "note" }, text["no-mistakes"]));
}

// -- a new training -------------------------------------------------------------------------------------------------

$("new").addEventListener("click", () => {
  $("start").hidden = !$("start").hidden;
  $("new").setAttribute("aria-expanded", !$("start").hidden);
  if (!$("start").hidden) $("start-data").focus();
});
$("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const asked = Object.fromEntries(["data", "target", "model", "epochs", "budget", "name"].map((n) => [n, $(`start-${n}`).value.trim()]));
  const started = await changes("api/train", asked);
  if (!started) return;
  $("about").textContent = text.started(started.name);
  $("start").hidden = true;
  $("new").setAttribute("aria-expanded", "false");
  await refresh();
});
$("filter").addEventListener("input", drawRuns);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key === "/") { event.preventDefault(); $("filter").focus(); }
  else if (event.key === "n" && mayChange()) { event.preventDefault(); $("new").click(); }
  else if (opened && view === "labels") labelKey(event);
});
