/**
 * Measures how fast texts come with drafts and without, in turns: texts that
 * copy, and a chat that does not. All are the same text.
 *
 * Run: `deno task bench:speculation [MODEL.gguf] [--rounds=5] [--tokens=128] [--threads=N] [--temp=0] [--task=NAME] [--draft-max=7] [--drafters=ngram-simple,ngram-mod] [--shared]`
 *
 * Each text begins with an empty pool of n-grams; with `--shared` those of the
 * other tasks come first, as a server's do.
 *
 * With `--ms=1:169,2:357,4:439,8:733` steps of so many tokens are taken to last
 * so many ms, as they do with another model: each text is written once, and what
 * drafts would have come of it is computed.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { load, speculationOptions, type Summary } from "../mod.ts";
import { StepCosts } from "../src/engine/step_costs.ts";
import type { Drafter } from "../src/generate/drafter.ts";
import { NgramDrafter } from "../src/generate/ngram_drafter.ts";
import { NgramPool, sharedPool } from "../src/generate/ngram_pool.ts";

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
    drafters: { type: "string", default: "ngram-simple,ngram-mod" },
    shared: { type: "boolean", default: false },
    "draft-max": {
      type: "string",
      default: `${speculationOptions.draftMax.default}`,
    },
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

type Speculation = "none" | "ngram-simple" | "ngram-mod";

const drafters = options.drafters.split(",") as Speculation[];
const draftMax = Number(options["draft-max"]);
const size = speculationOptions.ngramSize.default;

/** A text, and what it took. */
interface Written {
  readonly ids: readonly number[];
  readonly ms: number;
  readonly drafted: number;
  readonly accepted: number;
}

async function write(
  content: string,
  speculation: Speculation,
): Promise<Written> {
  let summary!: Summary;
  const pieces = model.chat([{ role: "user", content }], {
    maxTokens: Number(options.tokens),
    temperature: Number(options.temp),
    seed: 1,
    speculation,
    draftMax,
    onFinish: (given) => summary = given,
  });
  const ids = await Array.fromAsync(pieces, ({ id }) => id);
  const { completionMs: ms, draftedTokens, acceptedTokens } = summary;
  return { ids, ms, drafted: draftedTokens, accepted: acceptedTokens };
}

/** Steps at what they are taken to last. */
const assumed = options.ms === undefined ? undefined : new StepCosts();
for (const pair of options.ms?.split(",") ?? []) {
  const [tokens, ms] = pair.split(":").map(Number);
  assumed!.add(tokens, ms, 1);
}

/** What a text would take behind a prompt, were it drafted so, as `Speculation` does. */
async function replay(
  ids: readonly number[],
  drafter: Drafter | undefined,
  costs: StepCosts,
): Promise<Written> {
  let ms = 0, drafted = 0, accepted = 0;
  let left: readonly number[] = [];
  // The last token is not evaluated.
  for (const [i, id] of ids.slice(0, -1).entries()) {
    drafter?.push(id);
    if (left[0] === id) {
      accepted++;
      left = left.slice(1);
    } else {
      const most = Math.min(draftMax, ids.length - 2 - i);
      left = await drafter?.draft({ costs, least: 1, most }) ?? [];
      ms += costs.ms(1 + left.length)!;
      drafted += left.length;
    }
  }
  return { ids, ms, drafted, accepted };
}

/** What drafts behind a prompt; `others` are texts that came before. */
function drafterOf(
  speculation: Speculation,
  prompt: readonly number[],
  others: readonly (readonly number[])[],
): Drafter | undefined {
  if (speculation === "none") return;
  const pool = new NgramPool(2 ** 14);
  if (speculation === "ngram-mod") learn(pool, others);
  return new NgramDrafter(pool, size, prompt);
}

function learn(pool: NgramPool, texts: readonly (readonly number[])[]): void {
  for (const ids of texts) new NgramDrafter(pool, size, ids);
}

/** The median, and the least and the most. */
function spread(values: readonly number[], digits: number): string {
  const sorted = values.toSorted((a, b) => a - b);
  const [least, median, most] = [0, sorted.length >> 1, sorted.length - 1]
    .map((i) => sorted[i].toFixed(digits));
  return least === most ? median : `${median} (${least}–${most})`;
}

const promptOf = (content: string) =>
  model.tokenizeChat([{ role: "user", content }]);

/** Prompts and texts of tasks, as a pool of theirs learns them. */
const texts = new Map<string, readonly number[]>();
for (const [name, content] of Object.entries(tasks)) {
  if (!assumed && !options.shared) break;
  texts.set(name, (await write(content, "none")).ids);
}
const othersOf = (name: string) =>
  options.shared
    ? [...texts].filter(([other]) => other !== name)
      .map(([other, ids]) => [...promptOf(tasks[other]), ...ids])
    : [];

/** Writes a task's text once in each way, or computes what it would take. */
async function round(name: string): Promise<Written[]> {
  const written: Written[] = [];
  for (const speculation of ["none", ...drafters] as const) {
    const prompt = promptOf(tasks[name]), others = othersOf(name);
    if (assumed) {
      const drafter = drafterOf(speculation, prompt, others);
      written.push(await replay(texts.get(name)!, drafter, assumed));
    } else {
      const pool = sharedPool(model.engine);
      pool.clear();
      learn(pool, others);
      written.push(await write(tasks[name], speculation));
    }
  }
  return written;
}

console.log(`${model.backend}; temperature ${options.temp}\n
| text | drafts | tokens/s | ratio | tokens | drafted | accepted |
| --- | --- | --- | --- | --- | --- | --- |`);
await write(tasks.chat, "none"); // code is compiled, pages are made
for (const name of Object.keys(tasks)) {
  if (options.task !== undefined && options.task !== name) continue;
  const rounds: Written[][] = [];
  for (let i = 0; i < (assumed ? 1 : Number(options.rounds)); i++) {
    rounds.push(await round(name));
  }
  const [[{ ids: plain }]] = rounds;
  ["none", ...drafters].forEach((speculation, way) => {
    const each = rounds.map((round) => round[way]);
    const { ids, drafted, accepted } = each.at(-1)!;
    if (ids.join() !== plain.join()) {
      throw new Error(`The texts of ${name} differ`);
    }
    const rates = each.map(({ ms }) => 1000 * (ids.length - 1) / ms);
    const ratios = each.map(({ ms }, i) => rounds[i][0].ms / ms);
    console.log(
      `| ${name} | ${speculation} | ${spread(rates, 1)} | ${
        spread(ratios, 2)
      } | ${ids.length} | ${drafted} | ${accepted} |`,
    );
  });
}
