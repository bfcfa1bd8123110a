// -- samples made anew, and the way from one to another through the codes -----------------------------------------

const STEPS = 17;  // of a way

function offerSamples() {
  if (!model.generates?.makes) return;
  const { classes } = model.generates;
  $("make").hidden = false;
  $("make-count").max = model.limits.max_generated;
  $("make-count").value = Math.min(16, model.limits.max_generated);
  $("make-class").append(new Option(text.any, ""), ...classes.map((name) => new Option(visible(name), name)));
  $("make-classes").hidden = !classes.length;
  $("made-at").textContent = "POST /v1/generate";
}
async function generated(asked) {
  const body = { seed: +$("make-seed").value, ...asked };
  if ($("make-class").value) body.class = $("make-class").value;
  showGenerating(body);
  let response;
  try {
    response = await call("v1/generate", { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  } catch {
    throw new Error(text.offline);
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error ? told(answer.error.code, answer.error.message) : `HTTP ${response.status}`);
  return answer.samples;
}
const rowShown = (value) => (Array.isArray(value) || typeof value !== "object" ? JSON.stringify(value)
  : Object.entries(value).map(([column, v]) => `${visible(column)}: ${typeof v === "number" ? number(v, 5) : visible(v)}`).join("   "));
// a picture, or what else it is in words
function sampleShown(sample, i) {
  const name = [text.sample(i + 1), visible(sample.class ?? "")].filter(Boolean).join(" · ");
  if (!sample.file) return make("pre", { textContent: rowShown(sample.value), title: name });
  const image = make("img", { alt: name, title: name });
  image.onload = () => image.classList.toggle("tiny", Math.max(image.naturalWidth, image.naturalHeight) <= 96);
  image.src = `data:image/png;base64,${sample.file}`;
  return image;
}
function comesBack(card, sample) {
  const row = make("p", { className: "back", textContent: text["comes-back"] });
  row.append(sampleShown(sample, 0));
  card.querySelector(".says").append(row);
}
async function whileMaking(work) {
  notice("");
  const buttons = [...document.querySelectorAll("#make button")];
  for (const button of buttons) button.disabled = true;
  $("make").setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    notice(error.message);
  }
  for (const button of buttons) button.disabled = false;
  $("make").removeAttribute("aria-busy");
}
$("make").addEventListener("submit", (event) => {
  event.preventDefault();
  whileMaking(async () => {
    const samples = await generated({ count: +$("make-count").value });
    $("made").replaceChildren(...samples.map(sampleShown));
    $("status").textContent = text.samples(samples.length);
  });
});
$("make-way").addEventListener("click", () => $("make").reportValidity() && whileMaking(async () => {
  const count = Math.min(STEPS, model.limits.max_generated);
  const samples = await generated({ count, to_seed: +$("make-to").value });
  const frame = $("way").querySelector("figure");
  $("way").querySelector(".slider")?.remove();
  slider($("way"), text.way, 0, 0, (share) => frame.replaceChildren(sampleShown(samples[Math.round(share * (count - 1))], 0)));
  $("way").hidden = false;
  $("way").querySelector("input").focus();
}));
function showGenerating(body) {
  const to = new URL("v1/generate", location.href).href;
  $("curl").textContent = `curl ${quoted(to)} -H 'Content-Type: application/json' \\\n    -d ${quoted(JSON.stringify(body))}`;
  $("python").textContent = ["import json, urllib.request", "", `body = json.dumps(${pythonOf(body)}).encode()`,
    `request = urllib.request.Request(${pythonOf(to)}, body, {"Content-Type": "application/json"})`,
    'print(json.load(urllib.request.urlopen(request))["samples"])'].join("\n");
}
