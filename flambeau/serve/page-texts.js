"use strict";
const TEXTS = {
  en: {
    drop: "Drop a picture here", hint: "or choose one, or paste it",
    examples: "From the training data:", example: (n) => `Example ${n}`, csv: "Predict a CSV file", past: "The past, as CSV",
    "load-csv": "Open a CSV file", working: (done, all) => `${done} of ${all} rows`, none_given: "(not given)",
    download: (n) => `Download the ${n} predictions`, failed: (n) => `${n} rows could not be predicted; the column “error” says why`,
    "missing-columns": (c) => `The file has no column ${c}. Its first line must name the columns.`,
    "extra-columns": (c) => `Not used by the model: ${c}`, "empty-csv": "The file has no rows.", "bad-csv": (n) => `Line ${n}: a quote is not closed.`,
    code: "The same from a program", copy: "Copy", copied: "Copied", time: "time", value: "value", range: "range",
    "drop-touch": "Choose a picture", "hint-touch": "or take one with the camera", rows: "Inputs, as JSON", predict: "Predict",
    shortcut: "Ctrl + Enter", explain: "Show what the answer hangs on", answers: "Answers", clear: "Clear all", waiting: "Looking …", pasted: "pasted picture",
    classes: (n) => `${n} ${n === 1 ? "class" : "classes"}`, picture: (s) => `pictures at ${s}`, 
    gives: { number: () => "predicts a number", forecast: (name) => `forecasts ${name}`, "text-target": (name) => `writes ${name}`, answer: () => "answers by a part of the text" },
    grey: "grey", none: "none of the classes", "no-answer": "no answer", unknown: "unknown", row: (n) => `Input ${n}`,
    "too-large": (m) => `This file is larger than the ${m} MB that the server takes.`,
    "not-json": "This is not JSON. An example: ", offline: "The server does not answer. Is it still running?",
    key: "This server wants a key:", models: "Model",
    "no-picture": "There is no file in what was dropped.", done: (f, l) => `${f}: ${l}`,
    "drop-sound": "Drop a sound here", "hint-sound": "WAV, FLAC, OGG or MP3, or choose one", "drop-sound-touch": "Choose a sound",
    sound: (r) => `sounds at ${r} Hz`, record: "Record", stop: "Stop", recorded: "recording", seconds: (s) => `${s} s`,
    "no-microphone": "The browser gives no microphone to this page.",
    threshold: "Sure at least", opacity: "Strength", after: "After", save: "Save the picture",
    things: (n) => `${n} ${n === 1 ? "thing" : "things"}`, listed: (each) => `: ${each.join(", ")}`,
    "make-count": "Samples", "make-seed": "Seed", "make-class": "Class", "make-to": "Way to seed", any: "any", make: "Make samples",
    "make-way": "Show the way between both seeds", made: "Samples", way: "On the way", sample: (n) => `Sample ${n}`,
    samples: (n) => `${n} ${n === 1 ? "sample" : "samples"}`, "makes-samples": "makes samples", "comes-back": "What comes back of it",
    oddness: (x) => `oddness ${x}`,
    "write-prompt": "The text so far, or what you say", "write-temperature": "Temperature", "write-top": "Top-p",
    "write-tokens": "Tokens at most", "write-seed": "Seed (another each time if empty)", write: "Write", "write-stop": "Stop", written: "The text is at its end.", "writes-texts": "writes texts",
    codes: {
      "not-a-sound": () => "This is not a sound that can be read here: WAV, FLAC, OGG or MP3.",
      "not-a-picture": () => "This is not a picture that can be read here: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.",
      overloaded: () => "The server is busy. Try again in a moment.",
    },
  },
  zh: {
    drop: "把图片拖到这里", hint: "也可以点击选择，或直接粘贴",
    examples: "训练数据中的例子：", example: (n) => `例 ${n}`, csv: "预测整个 CSV 文件", past: "过去的数据（CSV）",
    "load-csv": "打开 CSV 文件", working: (done, all) => `已完成 ${done} / ${all} 行`, none_given: "（未填）",
    download: (n) => `下载 ${n} 个预测结果`, failed: (n) => `${n} 行无法预测，原因在“error”列`,
    "missing-columns": (c) => `文件中没有这些列：${c}。第一行必须是列名。`,
    "extra-columns": (c) => `模型不使用：${c}`, "empty-csv": "文件中没有数据行。", "bad-csv": (n) => `第 ${n} 行：引号没有闭合。`,
    code: "用程序做同样的事", copy: "复制", copied: "已复制", time: "时间", value: "预测值", range: "区间",
    "drop-touch": "选择图片", "hint-touch": "也可以直接拍照", rows: "输入（JSON）", predict: "预测",
    shortcut: "Ctrl + Enter", explain: "显示答案取决于什么", answers: "结果", clear: "全部清除", waiting: "正在识别……", pasted: "粘贴的图片",
    classes: (n) => `${n} 个类别`, picture: (s) => `图片 ${s}`, 
    gives: { number: () => "预测一个数值", forecast: (name) => `预测 ${name} 的走势`, "text-target": (name) => `写出 ${name}`, answer: () => "用文本的一部分作答" },
    grey: "灰度", none: "不属于任何类别", "no-answer": "没有答案", unknown: "无法确定", row: (n) => `输入 ${n}`,
    "too-large": (m) => `文件超过了服务器允许的 ${m} MB。`,
    "not-json": "这不是有效的 JSON。示例：", offline: "服务器没有响应，它还在运行吗？",
    key: "此服务器需要密钥：", models: "模型",
    "no-picture": "拖入的内容里没有文件。", done: (f, l) => `${f}：${l}`,
    "drop-sound": "把声音文件拖到这里", "hint-sound": "WAV、FLAC、OGG 或 MP3，也可以点击选择", "drop-sound-touch": "选择声音文件",
    sound: (r) => `声音 ${r} Hz`, record: "录音", stop: "停止", recorded: "录音", seconds: (s) => `${s} 秒`,
    "no-microphone": "浏览器没有允许此页面使用麦克风。",
    threshold: "置信度至少", opacity: "叠加强度", after: "之后", save: "保存图片",
    things: (n) => `${n} 个物体`, listed: (each) => `：${each.join("，")}`,
    "make-count": "样本数", "make-seed": "随机种子", "make-class": "类别", "make-to": "走向种子", any: "任意", make: "生成样本",
    "make-way": "显示两个种子之间的过渡", made: "样本", way: "过渡位置", sample: (n) => `样本 ${n}`,
    samples: (n) => `${n} 个样本`, "makes-samples": "可生成样本", "comes-back": "重建的结果",
    oddness: (x) => `异常程度 ${x}`,
    "write-prompt": "已有的文字，或您要说的话", "write-temperature": "温度", "write-top": "Top-p",
    "write-tokens": "最多词元数", "write-seed": "随机种子（留空则每次不同）", write: "续写", "write-stop": "停止", written: "已写完。", "writes-texts": "可续写文字",
    codes: {
      "not-generated": () => "这个模型不能生成所要的样本。",
      "not-a-sound": () => "这不是可以读取的声音（支持 WAV、FLAC、OGG、MP3）。",
      "not-a-picture": () => "这不是可以读取的图片（支持 JPEG、PNG、WebP、GIF、BMP、TIFF、AVIF）。",
      unreadable: (m) => (hears() ? `无法读取这个声音（${m}）。` : model.accepts === "files" ? "图片已损坏或不完整，无法读取。" : `无法读取这个输入（${m}）。`),
      empty: () => "文件是空的。",
      "too-many-pixels": () => "图片的像素太多，请先缩小。", overloaded: () => "服务器正忙，请稍后再试。",
      timeout: () => "处理超时，请稍后再试。", "not-ready": () => "模型还在准备中，请稍后再试。",
      "model-failed": () => "模型无法处理这个输入。", "not-finite": () => "模型没有给出有效的结果。",
      "bad-json": () => "这不是有效的 JSON。", "no-inputs": () => "没有输入：需要 {\"inputs\": [...]}。",
      "too-many": () => "一次提交的输入太多。", internal: () => "服务器内部出错。",
    },
  },
};
const language = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const text = TEXTS[language];
const $ = (id) => document.getElementById(id);
const TOP = 5, AT_ONCE = 4, MOST_CARDS = 100;
let model = null;
const hears = () => model?.inputs[0].kind === "audio";

document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
const touch = matchMedia("(pointer: coarse)").matches;
for (const node of document.querySelectorAll("[data-text]")) {
  node.textContent = (touch && text[`${node.dataset.text}-touch`]) || text[node.dataset.text];
}
for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text[node.dataset.label]);

function percent(p) {
  const format = (x, digits) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(x);
  if (p < 0.0005) return `< ${format(0.001, 1)}`;
  return format(p, p < 0.0995 || (p > 0.9905 && p < 0.9995) ? 1 : 0);
}
const number = (x, digits = 6) => new Intl.NumberFormat(language, { maximumSignificantDigits: digits }).format(x);
const round = (values) => values.map((v) => (Array.isArray(v) ? `[${round(v)}]` : typeof v === "number" ? number(v) : v)).join(", ");

// marks that turn the direction of writing, and those that are for terminals, are shown and not obeyed
const visible = (name) => String(name).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
  (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
// of several models the one that the page's own address names is asked
const pathOf = (path) => {
  const url = new URL(path, location.href), chosen = new URLSearchParams(location.search).get("model");
  if (chosen && !/completions$/.test(path)) url.searchParams.set("model", chosen);
  return url.href;
};
const address = () => pathOf("v1/predict");
// a server that wants a key gets what one types, as long as the page is open
async function call(path, options = {}) {
  const send = () => fetch(pathOf(path), { ...options, headers: { ...options.headers, ...(sessionStorage.apiKey ? { "X-API-Key": sessionStorage.apiKey } : {}) } });
  const response = await send();
  const key = response.status === 401 && prompt(text.key);
  if (!key) return response;
  sessionStorage.apiKey = key.trim();
  return send();
}

function notice(message) {
  $("notice").textContent = message || "";
  $("notice").hidden = !message;
}
// in the page's language where there are words for it, else as the server said it
const told = (code, message) =>
  text.codes[code] ? text.codes[code](message) : message.replace(/^./, (c) => c.toUpperCase()).replace(/[^.…]$/, "$&.");

async function ask(body, type, explain = $("explain").checked) {
  let response;
  try {
    response = await call(`v1/predict?top=${TOP}${drawn() ? `&reject_below=${LEAST}` : ""}${explain ? "&explain=true" : ""}${model.generates?.reconstructs ? "&reconstruct=true" : ""}`, { method: "POST", body, headers: type ? { "Content-Type": type } : {} });
  } catch {
    throw new Error(text.offline);
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    if (response.status === 413 && answer?.error?.code === "too-large") throw new Error(tooLarge());
    throw new Error(answer?.error ? told(answer.error.code, answer.error.message) : `HTTP ${response.status}`);
  }
  return answer.predictions;
}
const tooLarge = () => text["too-large"](number(model.limits.max_body / 2 ** 20));

