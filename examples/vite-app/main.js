/** Asks the engine, and shows what it has written. */
import { startEngine } from "@culm/culm/browser";

const form = document.querySelector("form");
const output = document.querySelector("output");

const engine = startEngine(() =>
  new Worker(new URL("./engine.js", import.meta.url), { type: "module" })
);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const prompt = form.prompt.value;
  const response = await engine.fetch("/v1/completions", {
    method: "POST",
    body: JSON.stringify({ prompt, max_tokens: 100 }),
  });
  const { choices: [{ text }] } = await response.json();
  output.textContent = prompt + text;
});
