// -- answers that lie in a picture: boxes, masks, and pictures made of it ---------------------------------------

const SURE = 0.3, LEAST = 0.05, MOST_LISTED = 20, SHARP = 640;
const DRAWN = { boxes: drawBoxes, mask: drawMask, picture: drawPicture };
const drawn = () => DRAWN[model?.output.kind];
const colourOf = (name) => model.output.colours[name] ?? "#ffffff";

// a slider with its name before it, and its value behind
function slider(card, name, value, least, changed) {
  const row = document.createElement("label");
  row.className = "slider";
  const input = document.createElement("input"), shown = document.createElement("output");
  Object.assign(input, { type: "range", min: least, max: 1, step: 0.01, value });
  const set = () => {
    shown.textContent = +input.value ? percent(+input.value) : "0%";
    changed(+input.value);
  };
  input.addEventListener("input", set);
  row.append(name, input, shown);
  (card.querySelector(".says") ?? card).append(row);
  set();
}
// the picture as it lies in its card, once its size is known; what is laid over it takes the same place
function over(card, draw) {
  const image = card.querySelector("figure img");
  card.classList.add("drawn");
  if (image.complete && image.naturalWidth) draw(image);
  else image.addEventListener("load", () => draw(image), { once: true });
}
function legend(card, entries) {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const [name, colour, said] of entries) {
    const item = document.createElement("li"), key = document.createElement("i"), shown = document.createElement("span");
    key.style.background = colour;
    shown.className = "class";
    shown.textContent = visible(name);
    item.append(key, shown, ` ${said}`);
    list.append(item);
  }
  card.querySelector(".legend")?.remove();
  card.querySelector(".says").append(list);
}
// COCO's run lengths of a mask, column by column, as pycocotools packs them
function runs({ counts }) {
  if (Array.isArray(counts)) return counts;
  const lengths = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, code;
    do {
      code = counts.charCodeAt(at) - 48;
      value |= (code & 31) << shift;
      shift += 5;
      at += 1;
    } while (code & 32);
    if (code & 16 && shift < 32) value |= -1 << shift;
    lengths.push(lengths.length > 2 ? value + lengths[lengths.length - 2] : value);
  }
  return lengths;
}
function tint(mask, colour) {
  const [height, width] = mask.size;
  const layer = Object.assign(document.createElement("canvas"), { width, height });
  const context = layer.getContext("2d"), pixels = context.createImageData(width, height);
  const channels = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  let place = 0, inside = false;
  for (const length of runs(mask)) {
    if (inside) for (let i = place; i < place + length; i += 1) pixels.data.set([...channels, 110], 4 * ((i % height) * width + Math.floor(i / height)));
    place += length;
    inside = !inside;
  }
  context.putImageData(pixels, 0, 0);
  return layer;
}

function counted(boxes) {
  const counts = new Map();
  for (const { label } of boxes) counts.set(label, (counts.get(label) ?? 0) + 1);
  const each = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} ${visible(name)}`);
  return text.things(boxes.length) + (each.length ? text.listed(each) : "");
}
function drawBoxes(card, { label: boxes }) {
  const canvas = document.createElement("canvas"), label = card.querySelector(".label");
  let image = null, zoom = 1;  // names over a small picture are drawn finer than its pixels
  const layers = new Map();
  const draw = (threshold) => {
    const shown = boxes.filter((box) => box.confidence >= threshold);
    label.textContent = counted(shown);
    legend(card, shown.slice(0, MOST_LISTED).map((box) => [box.label, colourOf(box.label), percent(box.confidence)]));
    if (!image) return;
    const context = canvas.getContext("2d"), line = Math.max(canvas.width, canvas.height) / zoom / 250;
    context.setTransform(zoom, 0, 0, zoom, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.font = `${6 * line}px sans-serif`;
    context.textBaseline = "bottom";
    for (const box of shown.reverse()) {  // the surest above
      const colour = colourOf(box.label), said = `${visible(box.label)} ${percent(box.confidence)}`;
      if (box.mask && !layers.has(box)) layers.set(box, tint(box.mask, colour));
      if (box.mask) context.drawImage(layers.get(box), 0, 0);
      [context.strokeStyle, context.fillStyle, context.lineWidth] = [colour, colour, line];
      context.strokeRect(box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1);
      const height = 7 * line, bottom = Math.max(box.y1, height);
      context.fillRect(box.x1, bottom - height, context.measureText(said).width + 2 * line, height);
      context.fillStyle = "#000";
      context.fillText(said, box.x1 + line, bottom);
    }
  };
  label.hidden = false;
  let threshold = SURE;
  slider(card, text.threshold, SURE, LEAST, (value) => draw((threshold = value)));
  over(card, (loaded) => {
    image = loaded;
    zoom = Math.max(1, Math.ceil(SHARP / Math.max(image.naturalWidth, image.naturalHeight)));
    [canvas.width, canvas.height] = [zoom * image.naturalWidth, zoom * image.naturalHeight];
    image.after(canvas);
    draw(threshold);
  });
  return label.textContent;
}

const asPicture = (label) => Object.assign(new Image(), { src: `data:image/png;base64,${label}`, alt: "" });
function drawMask(card, { label }) {
  const mask = asPicture(label);
  mask.className = "over";
  mask.addEventListener("load", () => {
    // which classes are there, by the colours of the palette
    const canvas = Object.assign(document.createElement("canvas"), { width: mask.naturalWidth, height: mask.naturalHeight });
    const context = canvas.getContext("2d"), counts = new Map();
    context.drawImage(mask, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height), words = new Uint32Array(pixels.data.buffer);
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    const named = new Map(Object.entries(model.output.colours).map(([name, colour]) => [colour, name]));
    const entries = [...counts].sort((a, b) => b[1] - a[1]).map(([word, count]) => {
      const colour = `#${[0, 8, 16].map((by) => ((word >> by) & 255).toString(16).padStart(2, "0")).join("")}`;
      return [named.get(colour) ?? colour, colour, percent(count / words.length)];
    });
    legend(card, entries);
    for (let i = 0; i < words.length; i++) if (!(words[i] & 0xffffff)) words[i] = 0;  // black, the background, hides nothing
    context.putImageData(pixels, 0, 0);
    mask.src = canvas.toDataURL();
    $("status").textContent = text.done(card.querySelector(".file").textContent, entries.map(([name]) => name).join(", "));
  }, { once: true });
  over(card, (image) => image.after(mask));
  slider(card, text.opacity, 0.5, 0, (value) => { mask.style.opacity = value; });
}

function drawPicture(card, { label }) {
  const made = asPicture(label), link = document.createElement("a");
  made.className = "over";
  over(card, (image) => image.after(made));
  slider(card, text.after, 0.5, 0, (value) => { made.style.clipPath = `inset(0 0 0 ${100 * (1 - value)}%)`; });
  [link.href, link.download, link.textContent] = [made.src, "answer.png", text.save];
  card.querySelector(".says").append(link);
}
