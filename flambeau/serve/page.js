// -- cards ---------------------------------------------------------------------------------------------------

function addCard(name, picture) {
  const card = $("card").content.firstElementChild.cloneNode(true);
  card.querySelector(".file").textContent = visible(name);
  card.querySelector(".file").title = name;
  card.querySelector(".waiting").textContent = text.waiting;
  if (picture && hears()) {
    const player = card.querySelector("audio");
    player.src = URL.createObjectURL(picture);
    player.hidden = false;
  } else if (picture) {
    const image = card.querySelector("img");
    image.onload = () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) <= 96);
    // a file that the browser cannot draw, such as a TIFF, is shown by its answer alone
    image.onerror = () => plain(card);
    image.src = URL.createObjectURL(picture);
    card.querySelector("figure").hidden = false;
  } else plain(card);
  $("cards").prepend(card);
  while ($("cards").children.length > MOST_CARDS) discard($("cards").lastElementChild);
  $("tools").hidden = $("cards").children.length < 2;
  return card;
}
function plain(card) {
  card.classList.add("plain");
  card.querySelector("figure").hidden = true;
}
function discard(card) {
  for (const { src } of card.querySelectorAll("img, audio")) if (src) URL.revokeObjectURL(src);
  card.remove();
}

function show(card, prediction) {
  if (prediction.error) return fail(card, told(prediction.code, prediction.error));
  const chosen = [].concat(prediction.label);
  const label = card.querySelector(".label");
  if (drawn()) {
    card.querySelector(".wait").hidden = true;
    $("status").textContent = text.done(card.querySelector(".file").textContent, drawn()(card, prediction) ?? "");
    return explained(card, prediction);
  }
  if (prediction.tokens) tagged(label, prediction);
  else label.textContent = prediction.quantiles ? visible(prediction.series ?? "") : describe(prediction);
  if (prediction.quantiles) card.querySelector(".says").append(forecast(prediction));
  label.hidden = !label.textContent;
  card.querySelector(".wait").hidden = true;
  const bars = card.querySelector(".bars");
  // objects with names such as "3" come out of JSON in the order of the numbers: sorted anew
  const likely = Object.entries(prediction.probabilities || {}).sort((a, b) => b[1] - a[1]);
  for (const [name, p] of likely) {
    const bar = $("bar").content.firstElementChild.cloneNode(true);
    bar.querySelector(".class").textContent = visible(name);
    bar.querySelector(".class").title = name;
    bar.querySelector(".percent").textContent = percent(p);
    bar.classList.toggle("chosen", chosen.includes(name));
    bars.append(bar);
    requestAnimationFrame(() => requestAnimationFrame(() => {
      bar.querySelector(".fill").style.width = `${Math.max(p * 100, 0.6)}%`;
    }));
  }
  bars.hidden = likely.length === 0;
  explained(card, prediction);
  if (prediction.reconstruction) comesBack(card, prediction.reconstruction);
  $("status").textContent = text.done(card.querySelector(".file").textContent,
    likely.length ? `${label.textContent}, ${percent(likely[0][1])}` : label.textContent);
}
function explained(card, prediction) {
  if (prediction.explanation) {
    const shown = document.createElement("div");
    shown.className = "explained";
    // taken apart and made anew: pictures with their bytes inside, and spans of text
    for (const part of new DOMParser().parseFromString(prediction.explanation, "text/html").body.children) {
      if (part.tagName === "IMG" && part.src.startsWith("data:image/")) {
        const image = document.createElement("img");
        [image.src, image.alt] = [part.src, part.alt];
        shown.append(image);
      } else if (part.tagName === "SPAN") {
        const span = document.createElement("span");
        [span.className, span.textContent] = [part.className, part.textContent];
        shown.append(span);
      }
    }
    card.querySelector(".says").append(shown);
  }
}
// each word with its tag above it
function tagged(label, prediction) {
  label.classList.add("tagged");
  prediction.tokens.forEach((token, i) => {
    const word = document.createElement("ruby"), tag = document.createElement("rt");
    tag.textContent = visible(prediction.label[i]);
    word.append(visible(token), tag);
    word.classList.toggle("chosen", prediction.label[i] !== "O");
    label.append(word, " ");
  });
}
function forecast(prediction) {
  const levels = Object.keys(prediction.quantiles).sort((a, b) => a - b);
  const [low, high] = [levels[0], levels.at(-1)];
  const body = document.createElement("tbody");
  prediction.label.forEach((value, i) => {
    const row = body.insertRow();
    row.insertCell().textContent = prediction.times?.[i] ?? `+${i + 1}`;
    row.insertCell().textContent = number(value, 5);
    row.insertCell().textContent = [low, high].map((level) => number(prediction.quantiles[level][i], 5)).join(" … ");
  });
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const name of [text.time, text.value, `${text.range} ${percent(low)}–${percent(high)}`]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  table.append(body);
  const frame = document.createElement("div");
  frame.className = "table";
  frame.tabIndex = 0;
  frame.append(table);
  return frame;
}
function describe(prediction) {
  const label = prediction.label;
  if (typeof label === "number") return model.generates ? text.oddness(number(label, 4)) : number(label);
  if (Array.isArray(label)) return label.length ? visible(round(label)) : text.none;
  if (label === "") return text["no-answer"];
  return label === "unknown" && !model.output.classes.includes(label) ? text.unknown : visible(label);
}
function fail(card, message) {
  card.querySelector(".wait").hidden = true;
  const error = card.querySelector(".error");
  error.textContent = message;
  error.hidden = false;
  $("status").textContent = text.done(card.querySelector(".file").textContent, message);
}

// -- pictures ------------------------------------------------------------------------------------------------

const queue = [];
let running = 0;

function take(files) {
  notice("");
  if (!model || model.accepts !== "files") return;
  if (!files.length) return notice(text["no-picture"]);
  for (const file of files) {
    const name = file.name || text.pasted;
    showCode(name);
    const card = addCard(name, file);
    if (file.size > model.limits.max_body - 4096) fail(card, tooLarge());
    else queue.push({ file, name, card });
  }
  next();
}
function next() {
  while (running < AT_ONCE && queue.length) {
    const { file, name, card } = queue.shift();
    const form = new FormData();
    form.append("file", file, name);
    running += 1;
    ask(form).then(([prediction]) => show(card, prediction), (error) => fail(card, error.message))
      .finally(() => { running -= 1; next(); });
  }
}

$("file").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = "";
});
let depth = 0;
addEventListener("dragenter", () => { depth += 1; document.body.classList.add("over"); });
addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) document.body.classList.remove("over"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  document.body.classList.remove("over");
  take([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) take(files);
});
$("clear").addEventListener("click", () => {
  [...$("cards").children].forEach(discard);
  queue.length = 0;
  $("tools").hidden = true;
  ($("pictures").hidden ? document.querySelector("#rows :is(textarea, input, select)") : $("file")).focus();
});

// -- sounds --------------------------------------------------------------------------------------------------

// browsers record what a server need not know how to read, so what they recorded is sent as a WAV
async function asWave(blob) {
  const context = new AudioContext();
  const sound = await context.decodeAudioData(await blob.arrayBuffer()).finally(() => context.close());
  const samples = sound.getChannelData(0);
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const word = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sound.sampleRate, true); view.setUint32(28, 2 * sound.sampleRate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((s, i) => view.setInt16(44 + 2 * i, Math.round(Math.max(-1, Math.min(1, s)) * 32767), true));
  return new Blob([view], { type: "audio/wav" });
}

const MOST_SECONDS = 60;
let recorder = null, recordings = 0;
$("record").addEventListener("click", async () => {
  if (recorder) return recorder.stop();
  notice("");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    recorder = new MediaRecorder(stream);
  } catch {
    return notice(text["no-microphone"]);
  }
  const parts = [], began = Date.now();
  const clock = setInterval(() => {
    const seconds = Math.floor((Date.now() - began) / 1000);
    $("recording").textContent = text.seconds(seconds);
    if (seconds >= MOST_SECONDS) recorder.stop();
  }, 200);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", async () => {
    const kind = recorder.mimeType;
    clearInterval(clock);
    stream.getTracks().forEach((track) => track.stop());
    recorder = null;
    $("record").textContent = text.record;
    $("recording").textContent = "";
    try {
      recordings += 1;
      take([new File([await asWave(new Blob(parts, { type: kind }))], `${text.recorded} ${recordings}.wav`)]);
    } catch {
      notice(text["no-microphone"]);
    }
  });
  recorder.start();
  $("record").textContent = text.stop;
});

// -- the model -----------------------------------------------------------------------------------------------

async function begin() {
  try {
    const response = await call("model");
    model = await response.json();
    if (!response.ok) return notice(told(model.error.code, model.error.message));
  } catch {
    return notice(text.offline);
  }
  document.title = visible(model.name);
  for (const name of model.models) $("models").add(new Option(visible(name), name, false, name === model.name));
  $("models").hidden = model.models.length < 2;
  $("models").addEventListener("change", () => { location.search = new URLSearchParams({ model: $("models").value }); });
  $("name").textContent = visible(model.name);
  const facts = [];
  const { classes, kind } = model.output;
  if (model.writes) facts.push(text["writes-texts"]);
  if (model.generates?.makes) facts.push(text["makes-samples"]);
  if (classes.length) facts.push(text.classes(classes.length));
  else if (text.gives[kind]) facts.push(text.gives[kind](visible(model.output.name)));
  const input = model.inputs[0];
  if (hears()) {
    $("file").accept = "audio/*";
    document.querySelector("#drop strong").textContent = (touch && text["drop-sound-touch"]) || text["drop-sound"];
    $("hint").textContent = text["hint-sound"];
    for (const sign of document.querySelectorAll("#drop svg")) sign.toggleAttribute("hidden");
    $("record").textContent = text.record;
    $("recorder").hidden = !(navigator.mediaDevices && window.MediaRecorder);
    if (input.rate) facts.push(text.sound(number(input.rate)));
  }
  if (input.kind === "image") facts.push(text.picture(`${input.shape[1]} × ${input.shape[0]}`));
  if (input.colour === "grey") facts.push(text.grey);
  $("about").textContent = facts.join(" · ");
  $("versions").textContent = `flambeau ${model.versions.flambeau}`;
  $("explain").parentElement.hidden = !model.explains || model.writes;
  if (model.writes) return offerWriting();
  if (model.accepts === "files") $("pictures").hidden = false;
  else buildForm();
  offerSamples();
  offerExamples();
  showCode();
}
