// Answers of an export of Flambeau (format onnx) by ONNX Runtime Web: nothing leaves the browser.
//
//   import * as ort from "./ort/ort.wasm.min.mjs";
//   import { load } from "./flambeau.js";
//   const model = await load("export/", ort);
//   const { label, probabilities } = await model.predict(fileOrText);

const SPACE = "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const WORD = "[\\p{L}\\p{N}_][\\p{L}\\p{N}_\\p{M}]*";
const WORDS = new RegExp(`${WORD}(?:['’]${WORD})*|[^\\p{L}\\p{N}_${SPACE}]\\p{M}*`, "gu");
const ONE = new RegExp(`[^${SPACE}]`, "gu");
const UNKNOWN = 1;

/** The model of a folder. `ort` is the module of onnxruntime-web; an Error says what cannot be used. */
export async function load(folder, ort) {
  const [manifest, fields] = await Promise.all(["export.json", "fields.json"].map((name) => json(folder + name)));
  if (manifest.format !== "onnx") throw new Error(`the export has the format ${manifest.format}; take --format onnx`);
  const decision = manifest.files["decision.json"] ? await json(folder + "decision.json") : {};
  if (Object.entries(decision).some(([name, value]) => value !== null && name !== "seal"))
    throw new Error("the export decides by thresholds or costs, which are not known here");
  if (fields.inputs.length !== 1) throw new Error(`it takes ${fields.inputs.length} inputs; one is known here`);
  const said = fields.fields[fields.inputs[0]];
  const encode = { image: picture, text }[said.kind];
  if (!encode) throw new Error(`its input is of the kind ${said.kind}; pictures and texts are known here`);
  if (!manifest.target.labels?.length) throw new Error("it does not answer with classes");
  const program = manifest.programs.predict;
  const session = await ort.InferenceSession.create(folder + program.file);
  const ready = encode(said);
  return {
    kind: said.kind,
    labels: manifest.target.labels,
    /** {label, probabilities: [[label, chance], …] from the likeliest} of a picture's file, or of a text. */
    async predict(value) {
      const arrays = await ready(value);
      const feeds = program.inputs.map((port, i) => [port.name, new ort.Tensor(port.dtype, ...arrays[i])]);
      const given = await session.run(Object.fromEntries(feeds));
      const chances = given[manifest.target.answers].data;
      const probabilities = manifest.target.labels.map((label, i) => [label, chances[i]]).sort((a, b) => b[1] - a[1]);
      return { label: probabilities[0][0], probabilities };
    },
  };
}

async function json(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}; put the export's folder there`);
  return answer.json();
}

/** uint8 (1, H, W, C): the graph brings it to the size that the model has. */
function picture(said) {
  if (said.values || said.resize === "keep") throw new Error("pictures of more than 8 bits or of any size are not known here");
  const channels = said.colour === "grey" ? 1 : 3;
  return async (file) => {
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
    const { width, height } = bitmap;
    const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = `rgb(${said.background} ${said.background} ${said.background})`;
    canvas.fillRect(0, 0, width, height);
    canvas.drawImage(bitmap, 0, 0);
    const rgba = canvas.getImageData(0, 0, width, height).data;
    const pixels = new Uint8Array(width * height * channels);
    for (let from = 0, to = 0; from < rgba.length; from += 4, to += channels) {
      const [r, g, b] = rgba.subarray(from, from + 3);
      if (channels === 3) pixels.set([r, g, b], to);
      else pixels[to] = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16; // ITU-R BT.601, as Pillow rounds it
    }
    return [[pixels, [1, height, width, channels]]];
  };
}

/** int32 (1, T) and its length, int64 (1). */
function text(said) {
  if (said.tokenizer || !["words", "characters"].includes(said.cut))
    throw new Error(`texts cut into ${said.cut} are not known here; words and characters are`);
  const index = new Map(said.vocabulary.map((piece, number) => [piece, number]));
  return async (value) => {
    const plain = said.lower ? value.normalize("NFC").toLowerCase() : value.normalize("NFC");
    const pieces = (plain.match(said.cut === "words" ? WORDS : ONE) ?? []).slice(0, said.max_length);
    if (!pieces.length) throw new Error("the text is empty");
    if (said.characters && said.cut === "words") {
      const first = [...plain].slice(0, 2 * said.characters).join("").match(ONE) ?? [];
      pieces.push(...first.slice(0, said.characters).map((one) => ` ${one}`));
    }
    const numbers = Int32Array.from(pieces, (piece) => index.get(piece) ?? UNKNOWN);
    return [[numbers, [1, numbers.length]], [BigInt64Array.of(BigInt(numbers.length)), [1]]];
  };
}
