// Makes tests/goldens/smollm2.json with native llama.cpp (npm node-llama-cpp), on the CPU, 2 threads.
//
// Two runs over the same ids:
//   f32   the weights dequantised to F32, KV cache F32: no rounding but f32's, so what the file means.
//   q4_1  the file itself, KV cache F16: llama.cpp as people run it. It rounds activations to 8 bits
//         (Q8_1, Q8_0), so single log-probabilities part from f32's by up to about 0.1 and more.
//
// Rerun, in an empty folder, with SMOL the folder of the file fetched by `deno task fetch:smollm2`:
//   npm install node-llama-cpp@3.22.1
//   python smollm2_prepare.py $SMOL/SmolLM2-135M-Instruct.Q4_1.gguf smollm2-f32.gguf smollm2-chats.json
//   cp <culm>/scripts/goldens/{smollm2_llama_cpp,llama_cpp_sequence}.mjs .
//   node smollm2_llama_cpp.mjs $SMOL/SmolLM2-135M-Instruct.Q4_1.gguf smollm2-f32.gguf smollm2-chats.json \
//     <shared>/data/text/wikitext2-test.raw smollm2.json
import { readFileSync, writeFileSync } from "node:fs";
import { getModuleVersion } from "node-llama-cpp";
import {
  CONTINUATION,
  fileOf,
  greedy,
  nextLogprobs,
  openModel,
  PROMPTS,
  round,
  startLlama,
  toJson,
} from "./llama_cpp_sequence.mjs";

const CHARACTERS = 4000;

const [q4File, f32File, chatsFile, textFile, outFile] = process.argv.slice(2);
const chats = JSON.parse(readFileSync(chatsFile, "utf8"));
const text = readFileSync(textFile, "utf8").slice(0, CHARACTERS);
const llama = await startLlama();

async function run(modelPath, cacheType) {
  const { model, sequence } = await openModel(llama, modelPath, cacheType);
  const ids = model.tokenize(text, false);
  const logprobs = await nextLogprobs(sequence, ids);
  const prompts = [
    ...PROMPTS.map((prompt) => ({
      prompt,
      promptIds: model.tokenize(prompt, false),
    })),
    ...chats.map(({ messages, prompt }) => ({
      messages,
      prompt,
      promptIds: model.tokenize(prompt, true),
    })),
  ];
  const continuations = [];
  for (const { promptIds } of prompts) {
    continuations.push(await greedy(model, sequence, promptIds));
  }
  await model.dispose();
  const nll = -logprobs.reduce((a, b) => a + b, 0) / logprobs.length;
  return { ids, prompts, nll, logprobs, continuations };
}

const f32 = await run(f32File, "F32");
const q4 = await run(q4File, "F16");
const difference = f32.logprobs.map((value, i) => value - q4.logprobs[i]);

const golden = {
  madeBy:
    `scripts/goldens/smollm2_llama_cpp.mjs: node-llama-cpp ${await getModuleVersion()}, ` +
    `llama.cpp ${llama.llamaCppRelease.release}, CPU, 2 threads, no flash attention, ` +
    "one sequence, no chunks, no BOS (the file says add_bos_token = false)",
  runs: {
    f32: "weights dequantised to F32, KV cache F32",
    q4_1: "the file itself, KV cache F16",
  },
  model: fileOf(q4File),
  text: {
    file: "wikitext2-test.raw",
    characters: CHARACTERS,
    ids: f32.ids,
    meaning:
      "logprobs[i] is the natural log of the probability of ids[i + 1] after ids[0..i]; nll is minus their mean",
    nll: { f32: round(f32.nll, 6), q4_1: round(q4.nll, 6) },
    rootMeanSquareDifference: round(
      Math.sqrt(difference.reduce((a, d) => a + d * d, 0) / difference.length),
      5,
    ),
    logprobs: {
      f32: f32.logprobs.map((value) => round(value, 5)),
      q4_1: q4.logprobs.map((value) => round(value, 5)),
    },
  },
  greedyMeaning:
    `at most ${CONTINUATION} ids, ended by an end-of-generation id; ` +
    "margins[i] is how far the second best log-probability was behind",
  greedy: f32.prompts.map((prompt, i) => ({
    ...prompt,
    f32: f32.continuations[i],
    q4_1: q4.continuations[i],
  })),
};

writeFileSync(outFile, toJson(golden));
console.log(
  golden.text.nll,
  golden.text.ids.length,
  golden.text.rootMeanSquareDifference,
);
process.exit(0);
