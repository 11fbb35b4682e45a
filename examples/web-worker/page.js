/** Asks the engine, and shows what it writes as it comes. */
import { startEngine } from "./node_modules/@culm/culm/browser.js";

const form = document.querySelector("form");
const output = document.querySelector("output");

const engine = startEngine(() => {
  const worker = new Worker("engine.js", { type: "module" });
  worker.postMessage(form.model.files[0]);
  return worker;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const prompt = form.prompt.value;
  output.textContent = prompt;
  const response = await engine.fetch("/v1/completions", {
    method: "POST",
    body: JSON.stringify({ prompt, max_tokens: 100, stream: true }),
  });
  let rest = "";
  const pieces = response.body.pipeThrough(new TextDecoderStream());
  for await (const piece of pieces) {
    const events = (rest + piece).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: {")) continue; // "data: [DONE]"
      const { choices } = JSON.parse(event.slice(6));
      output.textContent += choices[0]?.text ?? "";
    }
  }
});
