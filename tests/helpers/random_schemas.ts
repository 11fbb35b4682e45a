/** JSON schemas of modest size, of keywords that constraints support, which texts of modest length satisfy. */
import fc from "fast-check";

type Schema = Record<string, unknown>;

const names = ["name", "age", "tags", "a b", "é", "x", "kind"];

const integers = fc.record({
  least: fc.integer({ min: -50, max: 50 }),
  more: fc.nat(200),
})
  .map(({ least, more }): Schema => ({
    type: "integer",
    minimum: least,
    maximum: least + more,
  }));

const numbers = fc.constantFrom<Schema>(
  { type: "number", minimum: 0, maximum: 1 },
  { type: "number", exclusiveMinimum: -2.5, maximum: 10 },
  { type: "integer", multipleOf: 5, minimum: 0, maximum: 100 },
  { type: "number" },
);

const strings = fc.record({ least: fc.nat(3), more: fc.nat(10) })
  .map(({ least, more }): Schema => ({
    type: "string",
    minLength: least,
    maxLength: least + more,
  }));

const patterns = fc.constantFrom<Schema>(
  { type: "string", pattern: "^[a-z]{2,5}$" },
  { type: "string", pattern: "^(red|blue)-[0-9]+$", maxLength: 12 },
  { type: "string", format: "date" },
  { type: "string", format: "uuid" },
  { type: "string", format: "ipv4" },
);

const words = fc.uniqueArray(
  fc.oneof(
    fc.constantFrom<unknown>(null, true, false, "yes", "no", "", 'a "b"\n'),
    fc.integer({ min: -3, max: 99 }),
    fc.constantFrom<unknown>([], [1, "a"], { k: null }),
  ),
  { minLength: 1, maxLength: 4, selector: (value) => JSON.stringify(value) },
).chain((values): fc.Arbitrary<Schema> =>
  fc.constantFrom({ enum: values }, { const: values[0] })
);

const simple = fc.oneof(
  integers,
  numbers,
  strings,
  patterns,
  words,
  fc.constantFrom<Schema>({ type: "boolean" }, { type: "null" }, {
    type: ["string", "null"],
    maxLength: 6,
  }),
);

/** Schemas by how many levels they may have. */
function schemas(levels: number): fc.Arbitrary<Schema> {
  if (levels === 0) return simple;
  const inner = schemas(levels - 1);
  const objects = fc.record({
    keys: fc.uniqueArray(fc.constantFrom(...names), {
      minLength: 1,
      maxLength: 4,
    }),
    values: fc.array(inner, { minLength: 4, maxLength: 4 }),
    required: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    additional: fc.constantFrom<unknown>(false, false, { type: "boolean" }),
  }).map(({ keys, values, required, additional }): Schema => ({
    type: "object",
    properties: Object.fromEntries(keys.map((key, i) => [key, values[i]])),
    required: keys.filter((_, i) => required[i]),
    additionalProperties: additional,
    ...(additional !== false && required.every(Boolean) &&
      { maxProperties: keys.length + 2 }),
  }));
  const arrays = fc.record({
    items: inner,
    least: fc.nat(2),
    more: fc.nat(2),
    first: fc.option(inner, { nil: undefined }),
  }).map(({ items, least, more, first }): Schema => ({
    type: "array",
    items,
    minItems: least,
    maxItems: least + more,
    ...(first && { prefixItems: [first] }),
  }));
  const choices = fc.array(inner, { minLength: 2, maxLength: 3 })
    .map((anyOf): Schema => ({ anyOf }));
  const shared = inner.map((item): Schema => ({
    $defs: { item },
    type: "object",
    properties: { a: { $ref: "#/$defs/item" }, b: { $ref: "#/$defs/item" } },
    required: ["b"],
    additionalProperties: false,
  }));
  const parts = fc.tuple(inner, inner).map(([a, b]): Schema => ({
    allOf: [
      { type: "object", properties: { a }, required: ["a"] },
      { properties: { a: {}, b }, additionalProperties: false },
    ],
  }));
  const weighed = [
    { weight: 4, arbitrary: objects },
    { weight: 2, arbitrary: arrays },
    { weight: 1, arbitrary: choices },
    { weight: 1, arbitrary: parts },
    { weight: 2, arbitrary: simple },
  ];
  // Pointers begin at the root.
  return levels === 2
    ? fc.oneof(...weighed, { weight: 1, arbitrary: shared })
    : fc.oneof(...weighed);
}

/** A JSON schema. */
export const randomSchemas: fc.Arbitrary<Schema> = schemas(2);
