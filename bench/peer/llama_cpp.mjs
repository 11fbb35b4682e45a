// llama.cpp's side of `deno task bench:peer`, run by Node: native llama.cpp through node-llama-cpp, on the CPU.
// Same requests and answers as culm.ts. The peer's greedy pick of an id is within its time, because
// node-llama-cpp computes logits only to pick from them; it is one pass over the vocabulary.
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
const version =
  `node-llama-cpp ${await getModuleVersion()}, ${threads} threads`;
console.log(JSON.stringify({ name: `llama.cpp (${version})` }));

const withLogits = (
  id,
) => [id, { generateNext: { token: true, options: { temperature: 0 } } }];

async function measure(prompt, decode) {
  await sequence.clearHistory();
  const start = performance.now();
  await sequence.controlledEvaluate([
    ...prompt.slice(0, -1),
    withLogits(prompt.at(-1)),
  ]);
  const prompted = performance.now();
  for (const id of decode) await sequence.controlledEvaluate([withLogits(id)]);
  return {
    promptMs: prompted - start,
    decodeMs: performance.now() - prompted,
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { prompt, decode } = JSON.parse(line);
  console.log(JSON.stringify(await measure(prompt, decode)));
}
process.exit(0);
