// Makes tests/goldens/gemma3.json with native llama.cpp (npm node-llama-cpp), on the CPU, 2 threads: the file itself, KV cache F16, as people run it.
//
// Rerun, in an empty folder, with MODELS the folder of the file fetched by `deno task fetch:gemma3`:
//   npm install node-llama-cpp@3.22.1
//   cp <culm>/scripts/goldens/{gemma3_llama_cpp,llama_cpp_sequence}.mjs .
//   node gemma3_llama_cpp.mjs $MODELS/gemma-3-270m-q4_k_m.gguf <shared>/data/text/wikitext2-test.raw gemma3.json
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

const TOKENS = 1500, CHARACTERS = 8000;
const MESSAGES = [
  { role: "user", content: "Why is the sky blue? Answer in one sentence." },
];
const CHAT = "<start_of_turn>user\n" + MESSAGES[0].content +
  "<end_of_turn>\n<start_of_turn>model\n";

const [modelPath, textFile, outFile] = process.argv.slice(2);
const text = readFileSync(textFile, "utf8").slice(0, CHARACTERS);
const llama = await startLlama();
const { model, sequence } = await openModel(llama, modelPath);
const { bos } = model.tokens;
const ids = [bos, ...model.tokenize(text, false)].slice(0, TOKENS + 1);
const logprobs = await nextLogprobs(sequence, ids);
const prompts = [
  ...PROMPTS.map((prompt) => [prompt, model.tokenize(prompt, false)]),
  [CHAT, model.tokenize(CHAT, true)],
];
const continuations = [];
for (const [prompt, promptIds] of prompts) {
  const all = [bos, ...promptIds];
  continuations.push({
    prompt,
    promptIds: all,
    ...await greedy(model, sequence, all),
  });
}
const golden = {
  madeBy:
    `scripts/goldens/gemma3_llama_cpp.mjs: node-llama-cpp ${await getModuleVersion()}, ` +
    `llama.cpp ${llama.llamaCppRelease.release}, CPU, 2 threads, no flash attention, KV cache F16`,
  model: fileOf(modelPath),
  text: {
    file: "wikitext2-test.raw",
    characters: CHARACTERS,
    ids,
    meaning:
      "ids[0] is BOS; logprobs[i] is the natural log of the probability of ids[i + 1] after ids[0..i]; nll is minus their mean",
    nll: round(-logprobs.reduce((a, b) => a + b, 0) / logprobs.length, 6),
    logprobs: logprobs.map((value) => round(value, 5)),
  },
  greedyMeaning:
    `at most ${CONTINUATION} ids, ended by an end-of-generation id; ` +
    "margins[i] is how far the second best log-probability was behind",
  greedy: continuations,
};
writeFileSync(outFile, toJson(golden));
console.log(golden.text.nll, ids.length);
for (const { prompt, text } of continuations) console.log([prompt, text]);
process.exit(0);
