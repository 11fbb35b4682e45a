// Makes tests/goldens/architectures.json with native llama.cpp (npm node-llama-cpp): for each of a few random
// models, the five likeliest ids behind each of 48, and their log-probabilities; F32 weights, KV cache F32.
//
// Rerun, in an empty folder:
//   npm install node-llama-cpp@3.22.1
//   deno run -A <culm>/scripts/goldens/write_architectures.ts models
//   cp <culm>/scripts/goldens/architectures_llama_cpp.mjs . && node architectures_llama_cpp.mjs models architectures.json
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { getLlama, getModuleVersion } from "node-llama-cpp";

const [folder, outFile] = process.argv.slice(2);
const ids = [
  1,
  ...Array.from({ length: 47 }, (_, i) => 3 + (i * 7919 + 13 * i * i) % 310),
];
const llama = await getLlama({
  gpu: false,
  maxThreads: 1,
  build: "never",
  logLevel: "warn",
});

const models = {};
for (const file of readdirSync(folder).sort()) {
  const modelPath = `${folder}/${file}`;
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({
    contextSize: 256,
    batchSize: 256,
    threads: 1,
    flashAttention: false,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
  });
  const want = { generateNext: { probabilities: true } };
  const steps = await context.getSequence().controlledEvaluate(
    ids.map((id) => [id, want]),
  );
  const top = steps.map(({ next: { probabilities } }) => {
    // node-llama-cpp's own sum is off by about 1e-4, so it is divided out.
    let sum = 0;
    for (const p of probabilities.values()) sum += p;
    return [...probabilities].sort((a, b) => b[1] - a[1]).slice(0, 5)
      .map(([id, p]) => [id, Number(Math.log(p / sum).toFixed(5))]);
  });
  models[file.replace(".gguf", "")] = {
    sha256: createHash("sha256").update(readFileSync(modelPath)).digest("hex"),
    top: top.map((five) => five.map(([id]) => id)),
    logprobs: top.map((five) => five.map(([, logprob]) => logprob)),
  };
  await model.dispose();
}

const golden = {
  madeBy:
    `scripts/goldens/architectures_llama_cpp.mjs: node-llama-cpp ${await getModuleVersion()}, ` +
    `llama.cpp ${llama.llamaCppRelease.release}, CPU, 1 thread, no flash attention`,
  ids,
  models,
};
// One line for each array of numbers: small, and still a text that diffs.
const json = JSON.stringify(golden, null, 1)
  .replace(
    /\[\s*(-?\d[^[\]]*?)\s*\]/g,
    (_, numbers) => `[${numbers.replaceAll(/\s+/g, "")}]`,
  );
writeFileSync(outFile, json + "\n");
process.exit(0);
