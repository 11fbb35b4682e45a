/** What a model writes under random schemas is what these allow, by another's word. */
import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { load, type Summary } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { randomSchemas } from "../helpers/random_schemas.ts";

Deno.test("answers under 100 random schemas validate", async () => {
  await using model = await load(tinyBamboo(), { contextSize: 512 });
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  let whole = 0, all = 0;
  await fc.assert(
    fc.asyncProperty(randomSchemas, fc.nat(1e6), async (schema, seed) => {
      let summary!: Summary;
      const text = await model.complete("Tom said:", {
        schema,
        seed,
        temperature: 1,
        maxTokens: 200,
        onFinish: (result) => summary = result,
      });
      all++;
      if (summary.finishReason === "length") return;
      whole++;
      const validate = ajv.compile(schema);
      const value: unknown = JSON.parse(text);
      assert.ok(validate(value), `${text}: ${ajv.errorsText(validate.errors)}`);
    }),
    { numRuns: 100, seed: 11 },
  );
  assert.ok(whole > 0.75 * all, `${whole} of ${all} were whole`);
});
