/**
 * culm's side of `deno task bench:peer`: answers one line of JSON a request.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { load } from "../../mod.ts";

const [modelPath, threads, contextSize] = Deno.args;
const model = await load(modelPath, {
  threads: Number(threads),
  contextSize: Number(contextSize),
});
console.log(JSON.stringify({ name: `culm (${model.backend})` }));

/** Milliseconds to evaluate `prompt` at once, then `decode` one id at a time. */
async function measure(
  prompt: number[],
  decode: number[],
): Promise<{ promptMs: number; decodeMs: number }> {
  const sequence = model.engine.createSequence();
  const start = performance.now();
  await model.engine.evaluate(sequence, prompt, "last");
  const prompted = performance.now();
  for (const id of decode) {
    await model.engine.evaluate(sequence, [id], "last");
  }
  const decoded = performance.now();
  sequence.drop();
  return { promptMs: prompted - start, decodeMs: decoded - prompted };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { prompt, decode } = JSON.parse(line);
  console.log(JSON.stringify(await measure(prompt, decode)));
}
await model[Symbol.asyncDispose]();
