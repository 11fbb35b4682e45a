/**
 * Has a model answer under JSON schemas, random ones and such as programs use, and
 * checks each answer by ajv; then measures, in turns, what it costs to hold a text
 * to a schema.
 *
 * Run: `deno task bench:constraints [MODEL.gguf] [--first=0] [--schemas=1000] [--real] [--rounds=9] [--tokens=180] [--threads=N]`
 *
 * @module
 */
import { parseArgs } from "node:util";
import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import {
  type GenerateOptions,
  LimitError,
  load,
  type Summary,
  UnsupportedError,
} from "../mod.ts";
import { realSchemas } from "../tests/helpers/real_schemas.ts";
import { randomSchemas } from "../tests/helpers/random_schemas.ts";
import { tinyBamboo } from "../tiny/tiny.ts";

const { values: options, positionals: [file] } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    first: { type: "string", default: "0" },
    schemas: { type: "string", default: "1000" },
    real: { type: "boolean", default: false },
    rounds: { type: "string", default: "9" },
    tokens: { type: "string", default: "180" },
    threads: { type: "string" },
  },
});

await using model = await load(file ?? tinyBamboo(), {
  contextSize: 1024,
  ...options.threads && { threads: Number(options.threads) },
});
const messages = [{ role: "user", content: "Answer with JSON." }];
type Schema = Record<string, unknown>;

/** How answers went, by name of the outcome. */
class Outcomes {
  readonly counts = new Map<string, number>();

  add(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  toString(): string {
    return [...this.counts].map(([name, n]) => `${n} ${name}`).join(", ");
  }
}

/** One answer: `valid`, or what else it is. */
async function outcomeOf(schema: Schema, seed: number): Promise<string> {
  let summary!: Summary;
  let text = "";
  try {
    const answer = model.chat(messages, {
      schema,
      seed,
      temperature: 1,
      maxTokens: 400,
      onFinish: (result) => summary = result,
    });
    for await (const piece of answer) text += piece.text;
  } catch (error) {
    if (error instanceof UnsupportedError) return "not supported";
    if (error instanceof LimitError) return "beyond a limit";
    throw error;
  }
  if (summary.finishReason === "length") return "ended by length";
  const isNew = String(schema.$schema ?? "2020-12").includes("20");
  const settings = {
    strict: false,
    validateFormats: false,
    logger: false,
  } as const;
  const ajv = isNew ? new Ajv2020(settings) : new Ajv(settings);
  const { $schema: _, ...rest } = schema;
  let validate;
  try {
    validate = ajv.compile(rest);
  } catch {
    return "not compiled by ajv";
  }
  if (validate(JSON.parse(text))) return "valid";
  console.error(JSON.stringify(schema), text, ajv.errorsText(validate.errors));
  return "INVALID";
}

const random = new Outcomes();
const first = Number(options.first), count = Number(options.schemas);
if (count > 0) {
  const schemas = fc.sample(randomSchemas, { numRuns: first + count, seed: 1 });
  for (let i = first; i < schemas.length; i++) {
    random.add(await outcomeOf(schemas[i], i));
  }
  console.log(`random schemas ${first} to ${first + count - 1}: ${random}`);
}

const real = new Outcomes();
if (options.real) {
  for (const [seed, [name, schema]] of Object.entries(realSchemas).entries()) {
    const outcome = await outcomeOf(schema, seed);
    real.add(outcome);
    if (outcome !== "valid") console.log(`${name}: ${outcome}`);
  }
  console.log(`real schemas: ${real}`);
}

const person: Schema = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 40 },
    age: { type: "integer", minimum: 0, maximum: 120 },
    job: { enum: ["baker", "smith", "teacher", "farmer"] },
    story: { type: "string", maxLength: 200 },
    friends: {
      type: "array",
      items: { type: "string", maxLength: 20 },
      maxItems: 3,
    },
  },
  required: ["name", "age", "job", "story", "friends"],
  additionalProperties: false,
};

/** The ms that a token takes, the first left out. */
async function msPerToken(more: GenerateOptions): Promise<number> {
  let summary!: Summary;
  const content = "Describe people who live in a village, as JSON.";
  const answer = model.chat([{ role: "user", content }], {
    seed: 1,
    maxTokens: Number(options.tokens),
    onFinish: (result) => summary = result,
    ...more,
  });
  for await (const _ of answer);
  return summary.completionMs / (summary.completionTokens - 1);
}

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[values.length >> 1];

const people: Schema = { type: "array", items: person, minItems: 20 };
const kinds: Readonly<Record<string, GenerateOptions>> = {
  "sampled": {},
  "sampled, no drafts": { speculation: "none" },
  "greedy": { temperature: 0 },
  "greedy, no drafts": { temperature: 0, speculation: "none" },
};
const rounds = Number(options.rounds);
for (const [name, kind] of rounds > 0 ? Object.entries(kinds) : []) {
  const free: number[] = [], held: number[] = [];
  for (let i = 0; i < rounds; i++) {
    free.push(await msPerToken({ ...kind, ignoreEos: true }));
    held.push(await msPerToken({ ...kind, schema: people }));
  }
  const [a, b] = [median(free), median(held)];
  console.log(
    `${name}: ${a.toFixed(3)} ms a token, ${b.toFixed(3)} under a schema: ${
      (100 * (b / a - 1)).toFixed(1)
    } % more`,
  );
}
if (random.counts.has("INVALID") || real.counts.has("INVALID")) Deno.exit(1);
