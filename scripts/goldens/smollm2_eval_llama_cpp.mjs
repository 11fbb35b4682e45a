// Makes tests/goldens/smollm2_eval.json with native llama.cpp (npm node-llama-cpp), on the CPU, 2 threads:
// the log-likelihood of every candidate of the first items of each task, in lm-evaluation-harness's formats.
// The prompts are put together here once more, and llama.cpp itself makes ids of them. The weights are those of the
// Q4_1 file, as F32: with quantised ones llama.cpp rounds activations to 8 bits, which is more than what is looked for.
// The KV cache is F16.
//
// Rerun, in an empty folder, with SMOL the folder of the file fetched by `deno task fetch:smollm2`:
//   deno run -A <culm>/cli/main.ts convert $SMOL/SmolLM2-135M-Instruct.Q4_1.gguf -o f32.gguf --type f32
//   npm install node-llama-cpp@3.22.1
//   cp <culm>/scripts/goldens/{smollm2_eval_llama_cpp,llama_cpp_sequence}.mjs .
//   node smollm2_eval_llama_cpp.mjs f32.gguf <shared>/data/tasks 200 smollm2_eval.json
import { readFileSync, writeFileSync } from "node:fs";
import { getModuleVersion } from "node-llama-cpp";
import { openModel, startLlama } from "./llama_cpp_sequence.mjs";

const [modelPath, folder, count, outFile] = process.argv.slice(2);
const items = Number(count);

/** Context and continuation of each candidate, by task. */
const tasks = {
  arc_easy: ({ query, choices }) =>
    choices.map((choice) => [`${query}\nAnswer:`, ` ${choice}`]),
  arc_challenge: ({ query, choices }) =>
    choices.map((choice) => [`${query}\nAnswer:`, ` ${choice}`]),
  piqa: ({ query, choices }) =>
    choices.map((choice) => [`${query}Answer:`, ` ${choice}`]),
  winogrande: ({ context_options, continuation }) =>
    context_options.map((context) => [context, ` ${continuation}`]),
  lambada_openai: (
    { context, continuation },
  ) => [[context, ` ${continuation}`]],
  hellaswag: ({ query, choices }) =>
    choices.map((choice) => [query, ` ${choice}`]),
};
const files = { hellaswag: "hellaswag_1000" };

const llama = await startLlama();
const { model, sequence } = await openModel(llama, modelPath);
let held = [];

/** A token's logit, the largest one, and the sum of exp(logit - the largest) over the vocabulary. */
const wanted = (id) => ({
  token: true,
  totalLogitWeight: true,
  logits: { filter: { tokens: [id], includeSelected: true } },
  options: { temperature: 0 },
});

/** Log-probability of ids[from ..] after what is before them, and whether each was the likeliest. */
async function score(ids, from) {
  let common = 0;
  while (common < from - 1 && held[common] === ids[common]) common++;
  await sequence.eraseContextTokenRanges([
    { start: common, end: sequence.nextTokenIndex },
  ]);
  held = ids.slice(0, -1);
  const input = held.slice(common).map((id, i) =>
    common + i < from - 1
      ? id
      : [id, { generateNext: wanted(ids[common + i + 1]) }]
  );
  const steps = await sequence.controlledEvaluate(input);
  let logprob = 0, greedy = true;
  for (let i = from; i < ids.length; i++) {
    const { logits, token, totalLogitWeight } = steps[i - 1 - common].next;
    logprob += logits.get(ids[i]) - logits.get(token) -
      Math.log(totalLogitWeight);
    greedy &&= token === ids[i];
  }
  return { logprob: Number(logprob.toFixed(4)), greedy };
}

const results = {};
for (const [task, candidatesOf] of Object.entries(tasks)) {
  const lines = readFileSync(`${folder}/${files[task] ?? task}.jsonl`, "utf8")
    .trim().split("\n").slice(0, items);
  results[task] = [];
  for (const line of lines) {
    const record = JSON.parse(line);
    const logprobs = [], greedy = [];
    for (const [before, after] of candidatesOf(record)) {
      const ids = model.tokenize(before + after, false);
      const result = await score(ids, model.tokenize(before, false).length);
      logprobs.push(result.logprob);
      greedy.push(result.greedy);
    }
    results[task].push(
      task === "lambada_openai"
        ? { logprobs, greedy: greedy[0] }
        : { logprobs, gold: record.gold },
    );
  }
  console.log(task, results[task].length);
  writeFileSync(
    outFile,
    JSON.stringify(
      {
        madeBy:
          `scripts/goldens/smollm2_eval_llama_cpp.mjs: node-llama-cpp ${await getModuleVersion()}, ` +
          `llama.cpp ${llama.llamaCppRelease.release}, CPU, 2 threads, no flash attention, no BOS (the file says add_bos_token = false)`,
        model: "SmolLM2-135M-Instruct.Q4_1.gguf",
        meaning:
          "logprobs[i]: natural log of the probability of candidate i after its context; greedy: whether each of its tokens was the likeliest",
        tasks: results,
      },
      null,
      1,
    ).replace(
      /\[\s*(-?\d[^[\]]*?)\s*\]/g,
      (_, numbers) => `[${numbers.replaceAll(/\s+/g, "")}]`,
    ) + "\n",
  );
}
process.exit(0);
