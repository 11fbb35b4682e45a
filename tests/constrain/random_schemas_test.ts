/** What a model writes under schemas is what these allow, by another's word. */
import assert from "node:assert/strict";
import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { load, type Summary } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { randomSchemas } from "../helpers/random_schemas.ts";
import { realSchemas } from "../helpers/real_schemas.ts";

const model = await load(tinyBamboo(), { threads: 0, contextSize: 512 });
const settings = { strict: false, validateFormats: false } as const;
const ajvs = { old: new Ajv(settings), new: new Ajv2020(settings) };

/** Whether an answer was whole; it is valid then. */
async function answers(
  schema: Record<string, unknown>,
  seed: number,
): Promise<boolean> {
  let summary!: Summary;
  const text = await model.complete("Tom said:", {
    schema,
    seed,
    temperature: 1,
    maxTokens: 200,
    onFinish: (result) => summary = result,
  });
  if (summary.finishReason === "length") return false;
  const validate = ajvs[schema.$schema ? "old" : "new"].compile(schema);
  const value: unknown = JSON.parse(text);
  assert.ok(validate(value), `${text}: ${JSON.stringify(validate.errors)}`);
  return true;
}

Deno.test("answers under 40 random schemas validate", async () => {
  let whole = 0, all = 0;
  await fc.assert(
    fc.asyncProperty(randomSchemas, fc.nat(1e6), async (schema, seed) => {
      all++;
      if (await answers(schema, seed)) whole++;
    }),
    { numRuns: 40, seed: 11 },
  );
  assert.ok(whole > 0.75 * all, `${whole} of ${all} were whole`);
});

Deno.test("answers under schemas such as programs use validate", async () => {
  const schemas = Object.values(realSchemas);
  let whole = 0;
  for (const [seed, schema] of schemas.entries()) {
    if (await answers(schema, seed)) whole++;
  }
  assert.ok(whole > 0.75 * schemas.length, `${whole} were whole`);
});
