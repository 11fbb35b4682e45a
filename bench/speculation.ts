/**
 * Measures how fast texts come with drafts from the text itself and without, in
 * turns: texts that copy, and a chat that does not. Both are the same text.
 *
 * Run: `deno task bench:speculation [MODEL.gguf] [--rounds=5] [--tokens=128] [--threads=N] [--temp=0] [--task=NAME]`
 *
 * With `--ms=1:169,2:357,4:439,8:733` steps of so many tokens are taken to last
 * so many ms, as they do with another model; what comes of that is computed.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { load, type Summary } from "../mod.ts";
import { StepCosts } from "../src/engine/step_costs.ts";

const { values: options, positionals: [file] } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    tokens: { type: "string", default: "128" },
    threads: { type: "string" },
    temp: { type: "string", default: "0" },
    task: { type: "string" },
    ms: { type: "string" },
  },
});

const code = `function mean(values) {
  let sum = 0;
  for (const value of values) {
    sum += value;
  }
  return sum / values.length;
}

function variance(values) {
  const center = mean(values);
  let sum = 0;
  for (const value of values) {
    sum += (value - center) ** 2;
  }
  return sum / values.length;
}`;

const report =
  `The harbour of Ostend was closed for nine hours on Tuesday after a crane fell across the northern lock. "Nobody was hurt, and the lock itself is undamaged," said harbour master Els Claes. Two ferries and eleven fishing boats waited outside. "We had fish on board that had to be sold by noon," said Joris Maes, who owns three of the boats. The crane was forty years old and was to be replaced next spring.`;

const json = `{
  "name": "harbour", "open": true,
  "boats": [
    {"id": 1, "name": "Marie", "length": 12.5, "crew": ["Joris", "Piet"]},
    {"id": 2, "name": "Else", "length": 9.0, "crew": ["An"]}
    {"id": 3, "name": "Noord", "length": 21.0, "crew": ["Tom", "Ivo", "Bram"]}
  ]
`;

const tasks: Readonly<Record<string, string>> = {
  "code edit":
    `Repeat this code, with the function mean renamed to average:\n\n${code}`,
  "summary with quotes":
    `Summarise this report, with the quotes of the two people word by word:\n\n${report}`,
  "JSON repair": `Repeat this JSON with its two faults repaired:\n\n${json}`,
  "chat": "What is a good way to learn to swim as an adult?",
};

await using model = await load(
  file ?? new URL(
    "../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf",
    import.meta.url,
  ),
  {
    contextSize: 1024,
    gpu: "off",
    threads: options.threads ? Number(options.threads) : undefined,
  },
);

const { engine } = model;
const assumed = options.ms === undefined ? undefined : new StepCosts();
for (const pair of options.ms?.split(",") ?? []) {
  const [tokens, ms] = pair.split(":").map(Number);
  assumed!.add(tokens, ms, 1);
}
/** ms of steps, at what they are taken to last */
let assumedMs = 0;
if (assumed) {
  const ms = (tokens: number) => assumed.ms(tokens)!;
  const add = (tokens: number) => assumedMs += ms(tokens);
  const value = { ms, sequences: 1 };
  Object.defineProperty(engine, "stepCosts", { value });
  for (const name of ["evaluate", "evaluateTops"] as const) {
    const evaluate = engine[name] as (...args: unknown[]) => unknown;
    Object.defineProperty(engine, name, {
      value: (...args: [unknown, number[], ...unknown[]]) => {
        if (args[1].length <= 16) add(args[1].length);
        return evaluate.apply(engine, args);
      },
    });
  }
}

async function write(
  content: string,
  speculation: "none" | "ngram-simple",
): Promise<{ rate: number; text: string; summary: Summary }> {
  let summary!: Summary, text = "";
  const pieces = model.chat([{ role: "user", content }], {
    maxTokens: Number(options.tokens),
    temperature: Number(options.temp),
    seed: 1,
    speculation,
    onFinish: (given) => summary = given,
  });
  assumedMs = 0;
  for await (const piece of pieces) text += piece.text;
  const ms = assumed ? assumedMs : summary.completionMs;
  const rate = 1000 * (summary.completionTokens - 1) / ms;
  return { rate, text, summary };
}

/** The median, and the least and the most. */
function spread(values: readonly number[], digits: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, median, most] = [0, sorted.length >> 1, sorted.length - 1]
    .map((i) => sorted[i].toFixed(digits));
  return `${median} (${least}–${most})`;
}

console.log(`${model.backend}; temperature ${options.temp}\n
| tokens/s | without | with drafts | ratio | tokens | drafted | accepted |
| --- | --- | --- | --- | --- | --- | --- |`);
await write(tasks.chat, "none"); // code is compiled, pages are made
for (const [name, content] of Object.entries(tasks)) {
  if (options.task !== undefined && options.task !== name) continue;
  const plain: number[] = [], drafted: number[] = [];
  let last: Summary | undefined;
  for (let round = 0; round < Number(options.rounds); round++) {
    const a = await write(content, "none");
    const b = await write(content, "ngram-simple");
    if (a.text !== b.text) throw new Error(`The texts of ${name} differ`);
    plain.push(a.rate);
    drafted.push(b.rate);
    last = b.summary;
  }
  const ratios = drafted.map((rate, i) => rate / plain[i]);
  const { completionTokens, draftedTokens, acceptedTokens } = last!;
  console.log(
    `| ${name} | ${spread(plain, 1)} | ${spread(drafted, 1)} | ${
      spread(ratios, 2)
    } | ${completionTokens} | ${draftedTokens} | ${acceptedTokens} |`,
  );
}
