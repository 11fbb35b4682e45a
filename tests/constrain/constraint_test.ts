import assert from "node:assert/strict";
import {
  type Constraint,
  makeConstraint,
} from "../../src/constrain/constraint.ts";
import { allows } from "../../src/sampling/token_mask.ts";
import type { ConstraintSpec } from "../../src/constrain/constraint_spec.ts";
import {
  type JsonSchema,
  plainSchema,
} from "../../src/constrain/json_schema.ts";
import { LimitError, UnsupportedError, UsageError } from "../../src/errors.ts";
import { Random } from "../../src/random.ts";
import { byteTokenizer } from "../helpers/byte_tokenizer.ts";
import { accepts } from "./accepts.ts";

const tokenizer = byteTokenizer(
  ["ab", "null", '"name', "hello", "<tool", "_call>", '": ', "é", " [1", "}}"],
  ["<think>", "<call>"],
);

/** A schema of most keywords that are supported. */
const person = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 1, maxLength: 8 },
    age: { type: ["integer", "null"], minimum: 0, maximum: 120 },
    tags: { type: "array", items: { enum: ["a", "b", 3] }, maxItems: 2 },
    next: { $ref: "#" },
  },
  required: ["name"],
  additionalProperties: false,
};

const specs: readonly ConstraintSpec[] = [
  { schema: person },
  { json: true },
  { grammar: 'root ::= "a"* ("ab" | [^a-z]{2,} "é") <think>? .' },
  { regex: "(ab|[0-9]+)*é?" },
  {
    structured: {
      structures: [{
        begin: "<tool_call>",
        content: { schema: { type: "integer" } },
        end: "</tool_call>",
      }, { begin: "<call>{", content: { regex: "[ab]+" }, end: "}" }],
    },
  }.structured,
];

const idsOf = (text: string) => tokenizer.encode(text, { parseSpecial: true });

Deno.test("texts that a constraint allows, and others", async () => {
  const cases: [ConstraintSpec, allowed: string[], refused: string[]][] = [
    [
      { schema: person },
      [
        '{"name":"x"}',
        '{ "name": "hello", "age" : null }',
        '{"name":"é","age":7,"tags":["a",3],"next":{"name":"y"}}',
      ],
      [
        "",
        "{}",
        '{"name":""}',
        '{"name":"x","age":121}',
        '{"name":"x","b":1}',
        '{"name":"x"',
      ],
    ],
    [
      {
        schema: {
          type: ["integer", "null"],
          format: "uint8",
          allOf: [{ multipleOf: 5 }],
        },
      },
      ["null", "0", "255"],
      ["-5", "260", "7", "1.5"],
    ],
    [
      {
        schema: { type: "string", format: "date", allOf: [{ pattern: "^2" }] },
      },
      ['"2020-02-29"'],
      ['"1999-01-01"', '"2020-13-01"'],
    ],
    [{ schema: true }, ["null", "[1,{}]", "-1.5e3"], ["", "nul", "{1}"]],
    [{ json: true }, ["{}", '{"a":[{"b":null}]}'], ["[]", "1", "{,}"]],
    [
      { regex: "^a+/\\d{2}$" },
      ["a/12", "aaa/09"],
      ["/12", "a/1", "a/123", "^a/12"],
    ],
    [{ regex: "a|b\\$" }, ["a", "b$"], ["b", "a$"]],
    [{ regex: "" }, [""], ["a"]],
    [{ grammar: 'root ::= "a"* "ab"' }, ["ab", "aaab"], ["a", "abb", ""]],
    [
      { grammar: "root ::= [^\\x00-\\x7f]+ | [+-]?" },
      ["é", "日本🙂", "", "-"],
      ["a", "éa", "+-"],
    ],
    [
      {
        grammar:
          'root ::= <think> [a-z]{2,3} !<[65]> "."  # 65 is A\nunused ::= "x"\n',
      },
      ["<think>ab!.", "<think>abc<call>."],
      ["<think>abA.", "think>ab!.", "<think>a!."],
    ],
    [
      { grammar: 'root ::= item ("," item)*\nitem ::= [0-9]+ | "(" root ")"' },
      ["1", "(1,(22)),3"],
      ["(1", "1,", "()"],
    ],
    [
      {
        structures: [{
          begin: "<tool_call>",
          content: {
            schema: {
              type: "object",
              properties: { a: { type: "integer" } },
              required: ["a"],
            },
          },
          end: "</tool_call>",
        }],
      },
      [
        "",
        "hello <tool",
        '<tool_call>{"a":1}</tool_call>',
        'a<tool_call>{"a": 1}</tool_call>b<tool_call>{"a":2,"b":null}</tool_call>c',
      ],
      [
        "<tool_call>",
        "<tool_call>hello",
        "a<tool_call>{}</tool_call>",
        '<tool_call>{"a":1}',
      ],
    ],
    [
      {
        structures: [
          { begin: "<call>{", content: { regex: "a+" }, end: "}" },
          { begin: "[", content: { schema: { type: "integer" } }, end: "]" },
        ],
        least: 1,
        most: 2,
        freeText: false,
      },
      ["<call>{aa}", "[1]", "[1]<call>{a}"],
      ["", "a", "[a]", "[1] [2]", "[1][2][3]"],
    ],
    [
      {
        structures: [
          { begin: "<call>", content: { regex: "a+" }, end: "\n" },
        ],
        least: 1,
        most: 1,
      },
      ["hi<call>a\n", "<call>aa\nhello"],
      ["hello", "<call>b\n", "<call>a\n<call>a\n"],
    ],
  ];
  for (const [spec, allowed, refused] of cases) {
    using constraint = await makeConstraint(tokenizer, spec);
    for (
      const [texts, expected] of [[allowed, true], [refused, false]] as const
    ) {
      for (const text of texts) {
        assert.equal(
          accepts(constraint, tokenizer, text, true),
          expected,
          `${JSON.stringify(spec)}: ${text}`,
        );
      }
    }
  }
});

/** Writes a random text of so many tokens, or as many as there may be; calls before each. */
function write(
  constraint: Constraint,
  random: Random,
  tokens: number,
  before: (mask: Uint32Array) => void = () => {},
): number[] {
  const taken: number[] = [];
  while (taken.length < tokens && !constraint.mustEnd) {
    const mask = constraint.mask();
    before(mask);
    const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id)
      .filter((id) => allows(mask, id) && id !== tokenizer.eos);
    if (ids.length === 0) break;
    const id = ids[Math.floor(random.next() * ids.length)];
    constraint.take(id);
    taken.push(id);
  }
  return taken;
}

Deno.test("a mask has the tokens that may be taken, and the end where the text may end", async () => {
  for (const [seed, spec] of [...specs, ...specs, ...specs].entries()) {
    using constraint = await makeConstraint(tokenizer, spec);
    write(constraint, new Random(seed), 12, (mask) => {
      assert.equal(allows(mask, tokenizer.eos!), constraint.mayEnd);
      for (let id = 0; id < tokenizer.vocabSize; id++) {
        if (id === tokenizer.eos) continue;
        const may = constraint.countAllowed([id]) === 1;
        assert.equal(allows(mask, id), may, `${JSON.stringify(spec)}: ${id}`);
      }
    });
  }
});

Deno.test("tokens are taken back, counted ahead, and written beside in a fork", async () => {
  for (const [seed, spec] of specs.entries()) {
    using constraint = await makeConstraint(tokenizer, spec);
    const random = new Random(100 + seed);
    write(constraint, random, 2);
    const mask = constraint.mask();
    using fork = constraint.fork();
    const ids = write(fork, random, 6);
    assert.ok(ids.length > 0);
    assert.deepEqual(constraint.mask(), mask);
    // One behind them that may not come.
    const wrong = fork.mustEnd
      ? 0
      : fork.mask().findIndex((word) => word !== 0xffffffff) * 32;
    const ahead = allows(fork.mask(), wrong) ? ids : [...ids, wrong];
    assert.equal(constraint.countAllowed(ahead), ids.length);
    assert.deepEqual(constraint.mask(), mask);
    const after = fork.mask();
    for (const id of ids) constraint.take(id);
    assert.deepEqual(constraint.mask(), after);
    constraint.rollBack(ids.length);
    assert.deepEqual(constraint.mask(), mask);
  }
});

Deno.test("a token that may not come is refused", async () => {
  for (
    const spec of [{ json: true }, {
      grammar: 'root ::= "{" [a-z]* "}"',
    }] as const
  ) {
    using constraint = await makeConstraint(tokenizer, spec);
    const [brace, end, other] = idsOf("{}]");
    constraint.take(brace);
    using fork = constraint.fork();
    assert.throws(() => fork.take(other), UnsupportedError);
    constraint.take(end);
    assert.ok(constraint.mustEnd);
  }
});

Deno.test("bytes that come whatever is chosen are known", async () => {
  const spec = { schema: { const: { name: [1, "é"] } } };
  using constraint = await makeConstraint(tokenizer, spec);
  constraint.take(idsOf("{")[0]);
  constraint.take(idsOf('"')[0]);
  const text = new TextDecoder().decode(constraint.forcedBytes());
  assert.equal(text, 'name"');
  using grammar = await makeConstraint(tokenizer, {
    grammar: 'root ::= "abc" [0-9] | "abd"',
  });
  assert.deepEqual(grammar.forcedBytes(), new TextEncoder().encode("ab"));
});

Deno.test("a text outlives the failure of another", async () => {
  for (const spec of specs) {
    using constraint = await makeConstraint(tokenizer, spec);
    using same = await makeConstraint(tokenizer, spec);
    write(constraint, new Random(5), 3);
    const mask = constraint.mask();
    const fails = () => {
      throw new WebAssembly.RuntimeError("unreachable");
    };
    assert.throws(() => same.room.call(fails), LimitError);
    assert.deepEqual(constraint.mask(), mask);
    assert.deepEqual(constraint.fork().mask(), mask);
  }
});

Deno.test("what the vocabulary cannot spell is an error, and no text", async () => {
  // No byte tokens: as byteTokenizer's, but every byte is special.
  const whole = byteTokenizer(["ab"], []);
  const few = { ...whole, isSpecial: (id: number) => id < 256 };
  using constraint = await makeConstraint(few, {
    grammar: 'root ::= "ab" "c"',
  });
  constraint.take(256);
  assert.throws(() => constraint.mask(), UnsupportedError);
});

Deno.test("what is not supported is refused by name and place", async () => {
  const schemas: [schema: unknown, message: RegExp][] = [
    [{ properties: { a: { not: {} } } }, /: not at #\/properties\/a is not/],
    [{ items: { uniqueItems: true } }, /: uniqueItems at #\/items is not/],
    [{ allOf: [{ if: {}, then: {} }] }, /: if at #\/allOf\/0 is not/],
    [{ contains: {} }, /: contains at # is not/],
    [{ propertyNames: { maxLength: 1 } }, /: propertyNames at # is not/],
    [{ unevaluatedItems: false }, /: unevaluatedItems at # is not/],
    [
      { $defs: { a: { unevaluatedProperties: false } }, $ref: "#/$defs/a" },
      /: unevaluatedProperties at #\/\$defs\/a is not/,
    ],
    [{ $dynamicRef: "#a" }, /: \$dynamicRef at # is not/],
    [{ format: "iri" }, /: format "iri" at #\/format is not/],
    [
      { type: "string", format: "int32" },
      /: format "int32" at #\/format is not/,
    ],
    [{ $ref: "http://a.b/c.json" }, /#\/\$ref refers to .*another document/],
    [
      { $ref: "#/$defs/a" },
      /#\/\$ref refers to "#\/\$defs\/a", which is not there/,
    ],
    [{ $ref: "#a" }, /#\/\$ref refers to "#a", which is not there/],
    [
      {
        $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } },
        $ref: "#/$defs/a",
      },
      /leads back to itself/,
    ],
    [
      {
        properties: { "a/b": { oneOf: [{ minLength: 1 }, { maxLength: 5 }] } },
      },
      /: #\/properties\/a~1b: oneOf is supported where no two/,
    ],
    [
      { items: { pattern: "(?=a)b" } },
      /: #\/items: the regex cannot be read: look-around/,
    ],
    [
      { properties: { a: {}, b: {} }, minProperties: 1, maxProperties: 1 },
      /: #: min\/maxProperties only supported/,
    ],
    [
      {
        type: "object",
        properties: { x: { type: "integer", minimum: 5, maximum: 4 } },
        required: ["x"],
      },
      /#\/properties\/x: Unsatisfiable/,
    ],
    [false, /schema is false/],
  ];
  for (const [schema, message] of schemas) {
    await assert.rejects(
      makeConstraint(tokenizer, { schema } as ConstraintSpec),
      (error: Error) => {
        assert.ok(error instanceof UnsupportedError, error.stack);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      },
      JSON.stringify(schema),
    );
  }
  const others: [ConstraintSpec, RegExp][] = [
    [{ regex: "(a)\\1" }, /regex cannot be read: backreferences/],
    [{ regex: "a(?!b)" }, /look-around/],
    [{ regex: "a(" }, /unclosed group/],
    [{ grammar: 'root ::= root "a" | "b"' }, /rule root begins with itself/],
    [{ grammar: 'root ::= a\na ::= "x"? root "y"' }, /begins with itself/],
  ];
  for (const [spec, message] of others) {
    await assert.rejects(makeConstraint(tokenizer, spec), (error: Error) => {
      assert.ok(error instanceof UnsupportedError, error.stack);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("a schema whose values would have no end is refused, another that refers to itself is not", async () => {
  const node = (next: unknown, more = {}) => ({
    $ref: "#/$defs/node",
    $defs: {
      node: {
        type: "object",
        properties: { next },
        required: ["next"],
        additionalProperties: false,
        ...more,
      },
    },
  });
  const self = { $ref: "#/$defs/node" };
  const list = (more: object) => ({ type: "array", items: self, ...more });
  const endless: JsonSchema[] = [
    node(self),
    node(list({ minItems: 1 })),
    node({ type: "array", prefixItems: [self], minItems: 1 }),
    node({ anyOf: [self, { allOf: [self] }] }),
    { type: "array", items: { $ref: "#" }, minItems: 2 },
  ];
  for (const schema of endless) {
    await assert.rejects(
      makeConstraint(tokenizer, { schema }),
      (error: Error) =>
        error instanceof UnsupportedError &&
        /unsatisfiable/.test(error.message),
      JSON.stringify(schema),
    );
  }
  const ending: [schema: JsonSchema, text: string][] = [
    [node(self, { required: [] }), '{"next":{}}'],
    [node(list({ minItems: 0 })), '{"next":[{"next":[]}]}'],
    [node({ anyOf: [self, { type: "null" }] }), '{"next":{"next":null}}'],
    [{ type: "array", items: { $ref: "#" }, maxItems: 2 }, "[[],[[]]]"],
  ];
  for (const [schema, text] of ending) {
    using constraint = await makeConstraint(tokenizer, { schema });
    assert.ok(accepts(constraint, tokenizer, text), JSON.stringify(schema));
  }
});

Deno.test("a choice of constants allows each of them", async () => {
  const constants = [1, 2, "a", true, null, -0.5];
  for (const keyword of ["anyOf", "oneOf"]) {
    const choices = constants.map((value) => ({ const: value, title: "t" }));
    const schema = { [keyword]: choices };
    using constraint = await makeConstraint(tokenizer, { schema });
    for (const value of [...constants, 3, "b", false, []]) {
      const text = JSON.stringify(value);
      const isAllowed = constants.includes(value as never);
      assert.equal(accepts(constraint, tokenizer, text), isAllowed, text);
    }
  }
  // Of two that hold at once, neither does.
  const twice = { oneOf: [{ const: 1 }, { const: 1 }] };
  await assert.rejects(
    makeConstraint(tokenizer, { schema: twice }),
    UnsupportedError,
  );
});

Deno.test("what is no schema is refused", async () => {
  const wrong: [unknown, RegExp][] = [
    [{ properties: [] }, /#\/properties is no object/],
    [{ properties: { a: 5 } }, /#\/properties\/a is neither/],
    [{ anyOf: {} }, /#\/anyOf is no list/],
    [{ $ref: 5 }, /#\/\$ref is no text/],
    [{ dependentRequired: [] }, /#\/dependentRequired is no object/],
    [
      { properties: { a: { type: "thing" } } },
      /#\/properties\/a\/type is "thing", and not one of null, boolean, /,
    ],
    [{ type: [] }, /#\/type is a list, and not one of/],
    [{ type: ["null", 5] }, /#\/type is a list, and not one of/],
    [{ enum: "a" }, /#\/enum is "a", and not a list/],
    [{ required: [1] }, /#\/required is a list, and not a list of texts/],
    [{ items: { minItems: -1 } }, /#\/items\/minItems is -1, and not a whole/],
    [{ maxLength: 1.5 }, /#\/maxLength is 1.5, and not a whole number/],
    [{ minimum: "1" }, /#\/minimum is "1", and not a number/],
    [{ exclusiveMaximum: null }, /#\/exclusiveMaximum is null, and not/],
    [{ multipleOf: 0 }, /#\/multipleOf is 0, and not a number above 0/],
    [{ pattern: 5 }, /#\/pattern is 5, and not a text/],
    [{ format: {} }, /#\/format is an object, and not a text/],
    [{ uniqueItems: 1 }, /#\/uniqueItems is 1, and not true or false/],
    [{ items: { pattern: "a(" } }, /#\/items: the regex .*: unclosed group/],
    [{ patternProperties: { "[": {} } }, /#: the regex cannot be read: /],
    [{ items: { multipleOf: -1 } }, /#\/items\/multipleOf is -1, and/],
  ];
  for (const [schema, message] of wrong) {
    await assert.rejects(
      makeConstraint(tokenizer, { schema } as ConstraintSpec),
      (error: Error) => {
        assert.ok(error instanceof UsageError, error.stack);
        assert.match(error.message, message);
        return true;
      },
    );
  }
});

Deno.test("a schema that is nothing but itself is refused by a sentence", async () => {
  const circles: [JsonSchema, RegExp][] = [
    [{ $ref: "#" }, /#\/\$ref leads back to itself$/],
    [{ allOf: [{ $ref: "#" }] }, /requires itself, without end$/],
    [{ anyOf: [{ $ref: "#" }] }, /requires itself, without end$/],
  ];
  for (const [schema, message] of circles) {
    await assert.rejects(async () => {
      using constraint = await makeConstraint(tokenizer, { schema });
      constraint.mask();
    }, (error: Error) => {
      assert.ok(error instanceof UnsupportedError, error.stack);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("a schema of thousands of references, each to the next, is read", () => {
  const last = 9_000;
  const $defs = Object.fromEntries(
    Array.from({ length: last }, (_, i) => [i, { $ref: `#/$defs/${i + 1}` }]),
  );
  const { schema } = plainSchema({
    $defs: { ...$defs, [last]: { type: "string" } },
    $ref: "#/$defs/0",
  });
  const { $ref, $defs: read } = schema as { $ref: string; $defs: object[] };
  assert.equal($ref, "#/$defs/0");
  assert.deepEqual(Object.values(read).at(-1), { type: "string" });
});

Deno.test("what takes too much is refused soon", async () => {
  const nested = (depth: number): Record<string, unknown> =>
    depth === 0 ? {} : { items: nested(depth - 1) };
  const circle: Record<string, unknown> = {};
  circle.items = circle;
  const many = Object.fromEntries(
    Array.from({ length: 30_000 }, (_, i) => [`p${i}`, {}]),
  );
  const doubling = Array.from(
    { length: 40 },
    (_, i) => `r${i} ::= r${i + 1} r${i + 1}`,
  ).join("\n");
  const specs: ConstraintSpec[] = [
    { schema: nested(200) },
    { schema: circle },
    { schema: { properties: many } },
    { schema: { description: "", const: "x".repeat(2_000_000) } },
    { schema: { multipleOf: 99_991 } },
    { schema: { allOf: [{ multipleOf: 9_973 }, { multipleOf: 997 }] } },
    {
      schema: {
        allOf: Array.from({ length: 12 }, (_, i) => ({
          anyOf: Array.from({ length: 4 }, (_, j) => ({
            properties: { [`p${i}`]: { const: j } },
          })),
        })),
      },
    },
    { regex: "((((a{1,100}){1,100}){1,100}){1,100})" },
    { regex: "(".repeat(5000) + ")".repeat(5000) },
    { grammar: `root ::= ${"(".repeat(500)}"a"${")".repeat(500)}` },
    { grammar: `root ::= "${"ab".repeat(50)}"{9000}` },
    { grammar: `root ::= "${"a".repeat(300_000)}"` },
    { grammar: 'root ::= "a"{20000}' },
    { grammar: `root ::= r0\n${doubling}\nr40 ::= "a" | ""` },
  ];
  for (const spec of specs) {
    const start = performance.now();
    const label = JSON.stringify(spec === specs[1] ? "circle" : spec).slice(
      0,
      80,
    );
    await assert.rejects(async () => {
      using constraint = await makeConstraint(tokenizer, spec);
      write(constraint, new Random(1), 50);
    }, (error: Error) => {
      assert.ok(
        error instanceof LimitError || error instanceof UnsupportedError,
        `${label}: ${error.stack}`,
      );
      return true;
    }, label);
    const ms = performance.now() - start;
    assert.ok(ms < 30_000, `${label}: ${ms} ms`); // what is not refused takes minutes
  }
});
