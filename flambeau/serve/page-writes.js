// -- texts that go on ---------------------------------------------------------------------------------------------

let writing = null;  // ends the text that is being written

function offerWriting() {
  $("write").hidden = false;
  $("write-tokens").max = model.limits.max_tokens;
  $("made-at").textContent = `POST /v1/${model.chats ? "chat/" : ""}completions`;
  for (const name of ["write-temperature", "write-top"]) {
    const told = () => { $(`${name}-told`).textContent = number(+$(name).value); };
    $(name).addEventListener("input", told);
    told();
  }
  $("write").addEventListener("input", showWriting);
  showWriting();
}
function wantedText() {
  const prompt = $("write-prompt").value, seed = $("write-seed").value;
  return {
    model: model.name, ...(model.chats ? { messages: [{ role: "user", content: prompt }] } : { prompt }),
    max_tokens: +$("write-tokens").value, temperature: +$("write-temperature").value, top_p: +$("write-top").value,
    ...(seed === "" ? {} : { seed: +seed }),
  };
}
const writesTo = () => new URL(`v1/${model.chats ? "chat/" : ""}completions`, location.href).href;
// each event of a stream, as it comes
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = "", came = await reader.read(); !came.done; came = await reader.read()) {
    const events = (held + came.value).split("\n\n");
    held = events.pop();
    for (const event of events) if (event.startsWith("data: {")) yield JSON.parse(event.slice(6));
  }
}
async function write() {
  notice("");
  writing = new AbortController();
  const shown = $("written"), more = document.createElement("span");
  shown.replaceChildren(model.chats ? "" : visibleLines($("write-prompt").value), more);
  shown.hidden = false;
  $("write").setAttribute("aria-busy", "true");
  $("write-go").textContent = text["write-stop"];
  try {
    const response = await call(writesTo(), {
      method: "POST", headers: { "Content-Type": "application/json" }, signal: writing.signal,
      body: JSON.stringify({ ...wantedText(), stream: true }),
    });
    if (!response.ok) {
      const { error } = await response.json();
      throw new Error(told(error.code, error.message));
    }
    for await (const event of eventsOf(response)) {
      if (event.error) throw new Error(told(event.error.code, event.error.message));
      for (const { text: part, delta } of event.choices) more.append(visibleLines(part ?? delta?.content ?? ""));
    }
    $("status").textContent = text.written;
  } catch (error) {
    if (error.name !== "AbortError") notice(error instanceof TypeError ? text.offline : error.message);
  }
  writing = null;
  $("write").removeAttribute("aria-busy");
  $("write-go").textContent = text.write;
}
const visibleLines = (words) => words.split("\n").map(visible).join("\n");
$("write").addEventListener("submit", (event) => {
  event.preventDefault();
  if (writing) writing.abort();
  else write();
});
$("write-prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !writing) $("write").requestSubmit();
});
function showWriting() {
  const body = wantedText(), { messages, prompt, ...settings } = body;
  const asked = Object.entries(settings).map(([name, value]) => `${name}=${pythonOf(value)}`).join(", ");
  $("curl").textContent = `curl ${quoted(writesTo())} -H 'Content-Type: application/json' \\\n    -d ${quoted(JSON.stringify(body))}`;
  $("python").textContent = ["from openai import OpenAI", "",
    `client = OpenAI(base_url=${pythonOf(new URL("v1", location.href).href)}, api_key="none")`,
    model.chats ? `answer = client.chat.completions.create(messages=${pythonOf(messages)}, ${asked})`
      : `answer = client.completions.create(prompt=${pythonOf(prompt)}, ${asked})`,
    `print(answer.choices[0].${model.chats ? "message.content" : "text"})`].join("\n");
}
