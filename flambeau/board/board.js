// -- asking the board ----------------------------------------------------------------------------------------

// the token is in the part of the address that no server sees; it is kept for this tab, and taken out of the address
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem("token") ?? "";
const bearer = token ? { authorization: `Bearer ${token}` } : {};
const kept = new Map();  // of each address the last answer with its tag

function notice(message) {
  $("notice").textContent = message;
  $("notice").hidden = !message;
}
async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error?.message ?? `${response.status}`);
  return body;
}
async function reads(address) {
  const known = kept.get(address);
  const response = await fetch(address, { headers: { ...bearer, ...(known ? { "if-none-match": known.tag } : {}) } });
  if (response.status === 304) return known.body;
  const body = await answer(response);
  kept.set(address, { tag: response.headers.get("etag"), body });
  return body;
}
async function changes(address, body = {}) {
  notice("");
  try {
    const headers = { ...bearer, "content-type": "application/json" };
    return await answer(await fetch(address, { method: "POST", headers, body: JSON.stringify(body) }));
  } catch (error) {
    notice(error instanceof TypeError ? text.offline : error.message);
    return null;
  }
}
const of = (name, what = "") => `api/runs/${encodeURIComponent(name)}${what}`;

// -- making nodes; what comes from data is text ---------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}
const percent = (share) => `${(share * 100).toFixed(share > 0.995 || share < 0.1 ? 1 : 0)}%`;
function number(value) {
  if (value == null) return "–";
  return Math.abs(value) >= 1000 ? value.toLocaleString(language, { maximumFractionDigits: 0 }) : String(+value.toPrecision(4));
}
function duration(seconds) {
  if (!seconds) return "–";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
function fill(table, head, rows) {
  table.tHead.replaceChildren(make("tr", {}, ...head.map((name, i) => make("th", { scope: "col", className: i ? "n" : "" }, name))));
  table.tBodies[0].replaceChildren(...rows.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", { className: "n" }, cell)))));
}
