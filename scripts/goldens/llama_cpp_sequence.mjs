// What scripts of this folder that run native llama.cpp (npm node-llama-cpp) share: text to numbers of one sequence.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { getLlama } from "node-llama-cpp";

/** Ids of a continuation, at most. */
export const CONTINUATION = 48;

/** Texts to be continued. */
export const PROMPTS = [
  "Gravity is",
  "The capital of France is",
  "def fibonacci(n):\n",
  "La tour Eiffel a été construite en",
];

/** llama.cpp on the CPU, with 2 threads. */
export function startLlama() {
  return getLlama({
    gpu: false,
    maxThreads: 2,
    build: "never",
    logLevel: "warn",
  });
}

/** A model, and a sequence of up to 2048 positions in it. */
export async function openModel(llama, modelPath, cacheType = "F16") {
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({
    contextSize: 2048,
    batchSize: 512,
    threads: 2,
    flashAttention: false,
    experimentalKvCacheKeyType: cacheType,
    experimentalKvCacheValueType: cacheType,
  });
  return { model, sequence: context.getSequence() };
}

/** What tells a model's file from others. */
export function fileOf(path) {
  const bytes = readFileSync(path);
  return {
    file: basename(path),
    bytes: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
  };
}

export const round = (value, digits) => Number(value.toFixed(digits));

/** Natural-log softmax of one position; node-llama-cpp's own sum is off by about 1e-4, so it is divided out. */
function logprobsOf(probabilities) {
  let sum = 0;
  for (const p of probabilities.values()) sum += p;
  return (id) => Math.log(probabilities.get(id) / sum);
}

function twoBest(probabilities) {
  let [best, second] = [[-1, -1], [-1, -1]];
  for (const entry of probabilities) {
    if (entry[1] > best[1]) [best, second] = [entry, best];
    else if (entry[1] > second[1]) second = entry;
  }
  return { id: best[0], margin: Math.log(best[1] / second[1]) };
}

const want = { generateNext: { probabilities: true } };

/** Log-probability of ids[i + 1] after ids[0..i], for each i but the last. */
export async function nextLogprobs(sequence, ids) {
  await sequence.clearHistory();
  const logprobs = [];
  for (let start = 0; start < ids.length - 1; start += 64) {
    const end = Math.min(start + 64, ids.length - 1);
    const steps = await sequence.controlledEvaluate(
      ids.slice(start, end).map((id) => [id, want]),
    );
    steps.forEach((step, i) =>
      logprobs.push(logprobsOf(step.next.probabilities)(ids[start + i + 1]))
    );
  }
  return logprobs;
}

/** Greedy ids, the end-of-generation id included, and how far the second best was behind (in nats). */
export async function greedy(model, sequence, prompt) {
  await sequence.clearHistory();
  const ids = [];
  const margins = [];
  let input = prompt;
  while (ids.length < CONTINUATION) {
    const steps = await sequence.controlledEvaluate(
      input.map((id, i) => i === input.length - 1 ? [id, want] : id),
    );
    const { id, margin } = twoBest(steps[input.length - 1].next.probabilities);
    ids.push(id);
    margins.push(round(margin, 4));
    if (model.isEogToken(id)) break;
    input = [id];
  }
  return { ids, margins, text: model.detokenize(ids, true) };
}

/** One line for each array of numbers: small, and still a text that diffs. */
export function toJson(golden) {
  return JSON.stringify(golden, null, 1).replace(
    /\[\s*(-?\d[^[\]]*?)\s*\]/g,
    (_, numbers) => `[${numbers.replaceAll(/\s+/g, "")}]`,
  ) + "\n";
}
