/** What a page does that has the packages of npm; bundled for it as users do. */
import { ModelStore, startEngine } from "@culm/culm/browser";
import { load } from "@culm/culm";
import { tellAll } from "./cases.ts";

const prompt = "Once upon a time", maxTokens = 8;

/** What a model says that the store fetches, and keeps until it is deleted. */
async function tellFromStore(url: string) {
  const store = await ModelStore.open();
  const model = await load(await store.open(url), { threads: 0 });
  const text = await model.complete(prompt, { temperature: 0, maxTokens });
  await model[Symbol.asyncDispose]();
  const [{ isWhole }] = await store.list();
  await store.delete(new URL(url, location.href).href);
  return { text, isWhole, left: await store.list() };
}

/** What an engine in a worker answers, in pieces. */
async function tellFromWorker() {
  const engine = startEngine(
    () => new Worker("/in_worker.js", { type: "module" }),
  );
  const response = await engine.fetch("/v1/completions", {
    method: "POST",
    body: JSON.stringify({
      prompt,
      max_tokens: maxTokens,
      temperature: 0,
      stream: true,
    }),
  });
  const events = (await response.text()).matchAll(/"text":("[^"]*")/g);
  let text = "";
  for (const [, piece] of events) text += JSON.parse(piece);
  await engine[Symbol.asyncDispose]();
  return text;
}

export const acts = { tellAll, tellFromStore, tellFromWorker };
export type Acts = typeof acts;

Object.assign(globalThis, { acts });
