"use strict";
const TEXTS = {
  en: {
    title: "Runs", filter: "Filter by name, data, model, state", new: "New training", data: "Data", target: "Target column (tables)",
    model: "Model", epochs: "Epochs", budget: "Time", name: "Name", auto: "chosen", start: "Start the training",
    empty: "There is no run yet. Start one: flambeau train DATA, or “New training”.", curves: "Curves", metric: "Metric",
    compare: "Two runs side by side", settings: "What differs in their settings", close: "Close", views: "Views", keys: "1–9 give the class, 0 or Enter: the label is right, ← → go through, Backspace takes it back.",
    choices: "Right class", kind: "Kind", value: "Figure", state: "State", time: "Time", changed: "Last changed", choose: "Choose", actions: "Actions",
    states: { training: "training", starting: "starting", ended: "ended", stopped: "stopped", failed: "failed", unreadable: "unreadable" },
    about: (n, going) => `${n} ${n === 1 ? "run" : "runs"}${going ? `, ${going} training` : ""}`,
    "read-only": "shown only; nothing can be changed", locked: "to change something, open the address with the token that flambeau board printed",
    stop: "Stop", resume: "Resume", report: "Report", stopping: "stopping …", mistakes: "Mistakes", labels: "Labels", log: "Log",
    was: (name) => `was ${name}`, taken: (name) => `taken for ${name}`, "no-mistakes": "This run holds no mistakes to look through.", "no-log": "This board has not started it.",
    setting: "Setting", "same-rows": "Both were measured on the same rows. Whether the difference is more than chance says:", "other-rows": "They were measured on other rows, so their figures are not to be compared; on the same rows:",
    look: "Look for doubtful labels", again: "Look anew", looking: "The model looks at what it held out …", "train-again": (n) => `Train again with ${n} ${n === 1 ? "correction" : "corrections"}`,
    nothing: "No label is in doubt.", none: "Labels that are probably wrong, and answers that the model is least sure of, one by one; you say what is right. Rows that it held out are looked at.",
    suspected: "probably wrong", unsure: "least sure", given: (name) => `labelled ${name}`, suggests: (name, p) => `the model says ${name} (${p})`,
    progress: (at, all, done) => `${at} of ${all}, ${done} decided`, right: "The label is right", started: (name) => `${name} is started`,
    offline: "The board does not answer. Is it still running?", of: (done, all) => `${done} of ${all}`,
  },
  zh: {
    title: "训练运行", filter: "按名称、数据、模型、状态筛选", new: "新建训练", data: "数据", target: "目标列（表格）",
    model: "模型", epochs: "轮数", budget: "时间", name: "名称", auto: "自动选择", start: "开始训练",
    empty: "还没有任何运行。可用 flambeau train DATA 或“新建训练”开始。", curves: "曲线", metric: "指标",
    compare: "两个运行对比", settings: "设置的差异", close: "关闭", views: "视图", keys: "1–9 选择类别，0 或回车：标签正确，← → 前后翻看，退格键撤销。",
    choices: "正确的类别", kind: "类型", value: "指标", state: "状态", time: "用时", changed: "最近更新", choose: "选择", actions: "操作",
    states: { training: "训练中", starting: "启动中", ended: "已结束", stopped: "已停止", failed: "失败", unreadable: "无法读取" },
    about: (n, going) => `${n} 个运行${going ? `，${going} 个训练中` : ""}`,
    "read-only": "只供查看，不能更改", locked: "要更改内容，请打开 flambeau board 打印的带令牌的地址",
    stop: "停止", resume: "继续", report: "报告", stopping: "正在停止……", mistakes: "错误样本", labels: "标签", log: "日志",
    was: (name) => `实为 ${name}`, taken: (name) => `被当作 ${name}`, "no-mistakes": "这个运行没有可浏览的错误样本。", "no-log": "不是由此面板启动的。",
    setting: "设置", "same-rows": "两者在相同的行上测量。差异是否超出偶然，可用：", "other-rows": "两者在不同的行上测量，指标不能直接比较；要在相同的行上比较：",
    look: "查找可疑标签", again: "重新查找", looking: "模型正在检查留出的数据……", "train-again": (n) => `用 ${n} 处更正重新训练`,
    nothing: "没有可疑的标签。", none: "逐个查看可能标错的标签和模型最没把握的样本，由您给出正确答案。检查的是模型未训练过的行。",
    suspected: "可能标错", unsure: "最没把握", given: (name) => `标签为 ${name}`, suggests: (name, p) => `模型认为是 ${name}（${p}）`,
    progress: (at, all, done) => `第 ${at} / ${all} 个，已处理 ${done} 个`, right: "标签正确", started: (name) => `已启动 ${name}`,
    offline: "面板没有响应，它还在运行吗？", of: (done, all) => `${done} / ${all}`,
  },
};
const language = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const text = TEXTS[language];
const $ = (id) => document.getElementById(id);
document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
for (const node of document.querySelectorAll("[data-text]")) node.textContent = text[node.dataset.text];
for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text[node.dataset.label]);
for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = text[node.dataset.placeholder];
