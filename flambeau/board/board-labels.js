// -- labels, one by one ---------------------------------------------------------------------------------------

let labels = null, at = 0;

function labelsOf(found) {
  labels = found;
  at = 0;
  if (found) at = Math.max(0, found.samples.findIndex((one) => !(one.place in found.decided)));
}
function drawLabels(found) {
  if (found === labels) return;
  if (!labels || labels.state !== found.state) labelsOf(found);
  else labels = found;
  const tools = [];
  const corrected = Object.values(labels.decided).filter((label) => label != null).length;
  if (mayChange() && labels.state !== "looking") {
    tools.push(make("button", { type: "button", id: "look", className: labels.state === "ready" ? "plain-button" : "", onclick: lookFor }, labels.state === "ready" ? text.again : text.look));
    if (corrected) tools.push(make("button", { type: "button", id: "train-again", onclick: trainAgain }, text["train-again"](corrected)));
  }
  $("labels-tools").replaceChildren(...tools);
  drawSample();
}
function drawSample() {
  const one = labels.samples[at];
  $("sample").hidden = !one;
  const said = { none: text.none, looking: text.looking, failed: labels.error, ready: text.nothing };
  $("labels-said").textContent = one ? text.progress(at + 1, labels.samples.length, Object.keys(labels.decided).length) : said[labels.state];
  if (!one) return;
  const show = (kind, value) => { $("sample").querySelector(`.${kind}`).textContent = value; };
  $("sample").querySelector(".thumb").innerHTML = one.html;  // taken apart and written anew by the server
  show("why", text[one.why]);
  show("given", text.given(one.given));
  show("suggested", text.suggests(one.suggested, percent(one.confidence)));
  show("place", one.place);
  const decided = one.place in labels.decided ? labels.decided[one.place] ?? one.given : undefined;
  const choice = (key, name, label) => make("button", {
    type: "button", className: "plain-button", "aria-pressed": String(decided !== undefined && decided === (label ?? one.given) && (label !== null || labels.decided[one.place] == null)),
    disabled: !mayChange(), onclick: () => decide(label),
  }, ...(key == null ? [] : [make("kbd", {}, key)]), name);
  $("choices").replaceChildren(...labels.classes.map((name, i) => choice(i < 9 ? String(i + 1) : null, name, name)), choice("0", text.right, null));
}
async function decide(label) {
  const one = labels.samples[at];
  const body = label === undefined ? { place: one.place } : { place: one.place, label };
  if (!(await changes(of(opened, "/labels"), body))) return;
  if (label !== undefined && at < labels.samples.length - 1) at += 1;
  await drawView();
  $("sample").focus();
}
async function lookFor() {
  if (await changes(of(opened, "/labels/look"))) await drawView();
  tick(QUICK);
}
async function trainAgain() {
  const started = await changes(of(opened, "/labels/train"));
  if (started) { $("about").textContent = text.started(started.result); await refresh(); }
}
function labelKey(event) {
  if (!labels?.samples.length || (event.key === "Enter" && event.target.tagName === "BUTTON")) return;
  const number = /^[1-9]$/.test(event.key) ? labels.classes[+event.key - 1] : undefined;
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (number !== undefined && mayChange()) decide(number);
  else if (["0", "Enter"].includes(event.key) && mayChange()) decide(null);
  else if (event.key === "Backspace" && mayChange()) decide(undefined);
  else if (step) { at = Math.min(Math.max(at + step, 0), labels.samples.length - 1); drawSample(); }
  else return;
  event.preventDefault();
}

// where other machines can reach the board, a link to a report reads by a cookie
(token ? fetch("api/session", { method: "POST", headers: bearer }) : Promise.resolve()).catch(() => {}).finally(refresh);
