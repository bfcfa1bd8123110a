"use strict";
(() => {
  const TEXTS = {
    en: {
      drop: "Drop a picture here", hint: "or choose one, or paste it",
      "drop-touch": "Choose a picture", "hint-touch": "or take one with the camera", rows: "Inputs, as JSON", predict: "Predict",
      shortcut: "Ctrl + Enter", answers: "Answers", clear: "Clear all", waiting: "Looking …", pasted: "pasted picture",
      classes: (n) => `${n} ${n === 1 ? "class" : "classes"}`, picture: (s) => `pictures at ${s}`, number: "predicts a number",
      grey: "grey", none: "none of the classes", unknown: "unknown", row: (n) => `Input ${n}`,
      "too-large": (m) => `This file is larger than the ${m} MB that the server takes.`,
      "not-json": "This is not JSON. An example: ", offline: "The server does not answer. Is it still running?",
      "no-picture": "There is no file in what was dropped.", done: (f, l) => `${f}: ${l}`,
      "drop-sound": "Drop a sound here", "hint-sound": "WAV, FLAC, OGG or MP3, or choose one", "drop-sound-touch": "Choose a sound",
      sound: (r) => `sounds at ${r} Hz`, record: "Record", stop: "Stop", recorded: "recording", seconds: (s) => `${s} s`,
      "no-microphone": "The browser gives no microphone to this page.",
      codes: {
        "not-a-sound": () => "This is not a sound that can be read here: WAV, FLAC, OGG or MP3.",
        "not-a-picture": () => "This is not a picture that can be read here: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.",
        overloaded: () => "The server is busy. Try again in a moment.",
      },
    },
    zh: {
      drop: "把图片拖到这里", hint: "也可以点击选择，或直接粘贴",
      "drop-touch": "选择图片", "hint-touch": "也可以直接拍照", rows: "输入（JSON）", predict: "预测",
      shortcut: "Ctrl + Enter", answers: "结果", clear: "全部清除", waiting: "正在识别……", pasted: "粘贴的图片",
      classes: (n) => `${n} 个类别`, picture: (s) => `图片 ${s}`, number: "预测一个数值",
      grey: "灰度", none: "不属于任何类别", unknown: "无法确定", row: (n) => `输入 ${n}`,
      "too-large": (m) => `文件超过了服务器允许的 ${m} MB。`,
      "not-json": "这不是有效的 JSON。示例：", offline: "服务器没有响应，它还在运行吗？",
      "no-picture": "拖入的内容里没有文件。", done: (f, l) => `${f}：${l}`,
      "drop-sound": "把声音文件拖到这里", "hint-sound": "WAV、FLAC、OGG 或 MP3，也可以点击选择", "drop-sound-touch": "选择声音文件",
      sound: (r) => `声音 ${r} Hz`, record: "录音", stop: "停止", recorded: "录音", seconds: (s) => `${s} 秒`,
      "no-microphone": "浏览器没有允许此页面使用麦克风。",
      codes: {
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
  const number = (x) => new Intl.NumberFormat(language, { maximumSignificantDigits: 6 }).format(x);
  const round = (values) => values.map((v) => (Array.isArray(v) ? `[${round(v)}]` : typeof v === "number" ? number(v) : v)).join(", ");

  function notice(message) {
    $("notice").textContent = message || "";
    $("notice").hidden = !message;
  }
  // in the page's language where there are words for it, else as the server said it
  const told = (code, message) =>
    text.codes[code] ? text.codes[code](message) : message.replace(/^./, (c) => c.toUpperCase()).replace(/[^.…]$/, "$&.");

  async function ask(body, type) {
    let response;
    try {
      response = await fetch(`predict?top=${TOP}`, { method: "POST", body, headers: type ? { "Content-Type": type } : {} });
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

  // -- cards ---------------------------------------------------------------------------------------------------

  function addCard(name, picture) {
    const card = $("card").content.firstElementChild.cloneNode(true);
    card.querySelector(".file").textContent = name;
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
    label.textContent = describe(prediction);
    label.hidden = false;
    card.querySelector(".wait").hidden = true;
    const bars = card.querySelector(".bars");
    // objects with names such as "3" come out of JSON in the order of the numbers: sorted anew
    const likely = Object.entries(prediction.probabilities || {}).sort((a, b) => b[1] - a[1]);
    for (const [name, p] of likely) {
      const bar = $("bar").content.firstElementChild.cloneNode(true);
      bar.querySelector(".class").textContent = name;
      bar.querySelector(".class").title = name;
      bar.querySelector(".percent").textContent = percent(p);
      bar.classList.toggle("chosen", chosen.includes(name));
      bars.append(bar);
      requestAnimationFrame(() => requestAnimationFrame(() => {
        bar.querySelector(".fill").style.width = `${Math.max(p * 100, 0.6)}%`;
      }));
    }
    bars.hidden = likely.length === 0;
    $("status").textContent = text.done(card.querySelector(".file").textContent,
      likely.length ? `${label.textContent}, ${percent(likely[0][1])}` : label.textContent);
  }
  function describe(prediction) {
    const label = prediction.label;
    if (typeof label === "number") return number(label);
    if (Array.isArray(label)) return label.length ? round(label) : text.none;
    return label === "unknown" && !model.output.classes.includes(label) ? text.unknown : label;
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
    ($("pictures").hidden ? $("json") : $("file")).focus();
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

  // -- rows ----------------------------------------------------------------------------------------------------

  $("rows").addEventListener("submit", async (event) => {
    event.preventDefault();
    notice("");
    let inputs;
    try {
      const parsed = JSON.parse($("json").value);
      inputs = Array.isArray(parsed) ? parsed : parsed.inputs ?? [parsed];
    } catch {
      return notice(text["not-json"] + JSON.stringify([model.example]));
    }
    try {
      const predictions = await ask(JSON.stringify({ inputs }), "application/json");
      for (let i = predictions.length - 1; i >= 0; i -= 1) show(addCard(text.row(i + 1)), predictions[i]);
    } catch (error) {
      notice(error.message);
    }
  });
  $("json").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("rows").requestSubmit();
  });

  // -- the model -----------------------------------------------------------------------------------------------

  async function begin() {
    try {
      model = await (await fetch("model")).json();
    } catch {
      return notice(text.offline);
    }
    document.title = model.name;
    $("name").textContent = model.name;
    const facts = [];
    const { classes, kind } = model.output;
    if (classes.length) facts.push(text.classes(classes.length));
    else if (kind === "number") facts.push(text.number);
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
    if (model.accepts === "files") $("pictures").hidden = false;
    else {
      $("json").value = `[\n  ${JSON.stringify(model.example).replaceAll(/,(?=[-\d[])/g, ", ")}\n]`;
      $("rows").hidden = false;
    }
  }
  begin();
})();
