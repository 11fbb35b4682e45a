// llama.cpp's side of `deno task bench:peer`, run by Node: native llama.cpp through node-llama-cpp, on the CPU.
// Same requests and answers as culm.ts. Only the time within llama.cpp's own decoding is counted, so that
// neither JavaScript nor the pick of an id (without which node-llama-cpp computes no logits) slows the peer.
import { createInterface } from "node:readline";

const [nodeLlamaCpp, modelPath, threads, contextSize] = process.argv.slice(2);
const { getLlama, getModuleVersion } = await import(nodeLlamaCpp);

const llama = await getLlama({
  gpu: false,
  maxThreads: Number(threads),
  build: "never",
  logLevel: "error",
});
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
  contextSize: Number(contextSize),
  batchSize: 128,
  threads: Number(threads),
  flashAttention: "auto",
});
const sequence = context.getSequence();
const version = `node-llama-cpp ${await getModuleVersion()}`;
const unit = threads === "1" ? "thread" : "threads";
console.log(
  JSON.stringify({ name: `llama.cpp (${version}, ${threads} ${unit})` }),
);

let decodeMs = 0;
// An inside of the pinned version: the native call that runs one batch.
const { decodeBatch } = context._ctx;
Object.defineProperty(context._ctx, "decodeBatch", {
  async value(...args) {
    const start = performance.now();
    const result = await decodeBatch.apply(context._ctx, args);
    decodeMs += performance.now() - start;
    return result;
  },
});

const pick = { generateNext: { token: true, options: { temperature: 0 } } };

/** Milliseconds within llama.cpp to take `ids` in and compute the logits after the last. */
async function evaluate(ids) {
  decodeMs = 0;
  await sequence.controlledEvaluate([...ids.slice(0, -1), [ids.at(-1), pick]]);
  return decodeMs;
}

async function measure(prompt, decode) {
  await sequence.clearHistory();
  const result = { promptMs: await evaluate(prompt), decodeMs: 0 };
  for (const id of decode) result.decodeMs += await evaluate([id]);
  return result;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { prompt, decode } = JSON.parse(line);
  console.log(JSON.stringify(await measure(prompt, decode)));
}
process.exit(0);
