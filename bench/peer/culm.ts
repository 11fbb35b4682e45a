/**
 * culm's side of `deno task bench:peer`: answers one line of JSON a request.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline";
import {
  type Roofline,
  rooflineOf,
} from "../../cli/commands/bench/roofline.ts";
import { load, parseSparsity } from "../../mod.ts";
import { openFile } from "../../gguf.ts";
import { readProfile } from "../../plan.ts";
import { statsSince } from "../../lab.ts";
import type { Timing, Work } from "./timing.ts";

/** What one run took, beside what its counted bytes allow. */
export interface CulmTiming extends Timing {
  /** Bytes that a decoded token streamed and picked, and the rates of both */
  roofline: Roofline;
}

const [modelPath, threads, contextSize, sparsity, profilePath, hotShare] =
  Deno.args;

async function profileOf(path: string) {
  const source = await openFile(path);
  const { profile } = await readProfile(source);
  await source.close();
  return profile;
}

const model = await load(modelPath, {
  threads: Number(threads),
  contextSize: Number(contextSize),
  sparsity: parseSparsity(sparsity),
  profile: profilePath ? await profileOf(profilePath) : false,
  hotShare: hotShare ? Number(hotShare) : undefined,
});
console.log(JSON.stringify({ name: `culm (${model.backend})` }));

/** Logits that the default samplers look at. */
const top = 40;

/** Milliseconds of steps of several sequences, one id of each. */
async function measureBatch(steps: Work["batch"]): Promise<number> {
  const { engine } = model;
  const sequences = steps[0].map(() => engine.createSequence());
  const start = performance.now();
  for (const ids of steps) {
    await Promise.all(
      ids.map((id, i) =>
        engine.evaluateTop(sequences[i], [id], top, undefined, false)
      ),
    );
  }
  const ms = performance.now() - start;
  for (const sequence of sequences) sequence[Symbol.dispose]();
  return ms;
}

/** Milliseconds to evaluate `prompt` at once, then `decode` one id at a time, as a text with the default samplers does. */
async function measure({ prompt, decode, batch }: Work): Promise<CulmTiming> {
  const { engine } = model;
  using sequence = engine.createSequence();
  const rates = [await engine.measureRates()];
  const start = performance.now();
  await engine.evaluateTop(sequence, prompt, top, undefined, false);
  const prompted = performance.now();
  const before = engine.stats();
  for (const id of decode) {
    await engine.evaluateTop(sequence, [id], top, undefined, false);
  }
  const decodeMs = performance.now() - prompted;
  const stats = statsSince(engine.stats(), before);
  rates.push(await engine.measureRates());
  const roofline = rooflineOf({ stats, samplesMs: [decodeMs], rates });
  const batchMs = await measureBatch(batch);
  return { promptMs: prompted - start, decodeMs, batchMs, roofline };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await measure(JSON.parse(line))));
}
await model[Symbol.asyncDispose]();
