/** What the JSON-Schema-Test-Suite says of draft 2020-12: a text that a schema allows can be written, another cannot. */
import assert from "node:assert/strict";
import { makeConstraint } from "../../src/constrain/constraint.ts";
import type { JsonSchema } from "../../src/constrain/json_schema.ts";
import { LimitError, UnsupportedError } from "../../src/errors.ts";
import { byteTokenizer } from "../helpers/byte_tokenizer.ts";
import { accepts } from "./accepts.ts";
import { jsonTexts } from "./json_texts.ts";
import { refusedGroups } from "./refused_groups.ts";

/** What `scripts/goldens/json_schema_suite.ts` has written. */
interface Group {
  readonly name: string;
  readonly schema: JsonSchema;
  readonly valid: readonly unknown[];
  readonly invalid: readonly unknown[];
}

/** Those in which a schema is told by another schema what it means; here, by the drafts alone. */
const otherMeaning = [
  "vocabulary: schema that uses custom metaschema with with no validation vocabulary",
];

const tokenizer = byteTokenizer();
const groups: readonly Group[] = JSON.parse(
  await Deno.readTextFile(
    new URL("../goldens/json_schema_suite.json", import.meta.url),
  ),
);

Deno.test("every schema of the suite holds texts to what it allows, or is refused by name", async () => {
  const expected = new Map(
    Object.entries(refusedGroups).flatMap(([what, names]) =>
      names.map((name) => [name, what])
    ),
  );
  let texts = 0;
  for (const { name, schema, valid, invalid } of groups) {
    if (otherMeaning.includes(name)) continue;
    const refused = expected.get(name);
    expected.delete(name);
    if (refused !== undefined) {
      await assert.rejects(
        makeConstraint(tokenizer, { schema }),
        (error: Error) => {
          assert.ok(
            error instanceof UnsupportedError || error instanceof LimitError,
            error.stack,
          );
          assert.ok(error.message.includes(refused), error.message);
          return true;
        },
        name,
      );
      continue;
    }
    using constraint = await makeConstraint(tokenizer, { schema });
    const isAllowed = (value: unknown) =>
      jsonTexts(value).some((text) => accepts(constraint, tokenizer, text));
    for (
      const [values, allowed] of [[valid, true], [invalid, false]] as const
    ) {
      for (const value of values) {
        texts++;
        const label = `${name}: ${JSON.stringify(value)}`;
        assert.equal(isAllowed(value), allowed, label);
      }
    }
  }
  assert.deepEqual([...expected.keys()], [], "all are in the suite");
  assert.ok(texts > 600, `${texts}`);
});
