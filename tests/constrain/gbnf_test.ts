/** Grammars in GBNF: their syntax, and the texts that they allow. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { makeConstraint } from "../../src/constrain/constraint.ts";
import { compileGbnf } from "../../src/constrain/gbnf.ts";
import { LimitError, UsageError } from "../../src/errors.ts";
import { byteTokenizer } from "../helpers/byte_tokenizer.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { accepts } from "./accepts.ts";

const tokenizer = byteTokenizer(["ab", "ba", "aab", "é", "1. ", "//", "=="], [
  "<think>",
]);

const none = () => undefined;

Deno.test("every form of the syntax is read", async () => {
  const cases: [grammar: string, allowed: string[], refused: string[]][] = [
    ['root::="a"', ["a"], [""]],
    ['root ::= "\\x41\\u00e9\\U0001F642\\t\\r\\n\\\\\\"\\[\\]"', [
      'Aé🙂\t\r\n\\"[]',
    ], []],
    ["root ::= [a-c\\]x-]", ["b", "]", "-", "x"], ["d", "\\"]],
    ["root ::= [^a-c]", ["d", "é", "\n"], ["a", "b"]],
    ["root ::= [-a]", ["-", "a"], ["b"]],
    ["root ::= .", ["a", "\n", "é", "🙂"], ["", "ab"]],
    ['root ::= ("a" | "b" "c")*', ["", "abc", "bcbca"], ["b", "ac"]],
    ['root ::= "a"{2}', ["aa"], ["a", "aaa"]],
    ['root ::= "a"{2,}', ["aa", "aaaa"], ["a"]],
    ['root ::= "a"{1,3} "b"{0,1}', ["a", "aaab"], ["", "aaaa", "abb"]],
    ['root ::= "ab"+ [0-9]? # a comment\n', ["ab", "abab1"], ["aba", "1"]],
    [
      '# before\nroot ::= (\n  "a" | # within\n  x-1 )\n\nx-1 ::=\n "b" |\n\t"c"\r\n',
      ["a", "b", "c"],
      ["d"],
    ],
    ['root ::= "a" x x ::= "b"'.replace("x x", "x\nx"), ["ab"], ["a"]],
    ['root ::= "" | "a" | ', ["", "a"], ["b"]],
    ['root ::= "x"\nroot ::= "y"', ["y"], ["x"]],
    ['root ::= "(" root ")" | "x"', ["x", "((x))"], ["(x", "()"]],
    ['root ::= (("a"*)* | "b"?)+ "c"', ["c", "aabac"], ["a"]],
    ["root ::= <think> !<think>", ["<think>a"], ["<think><think>", "a"]],
  ];
  for (const [grammar, allowed, refused] of cases) {
    using constraint = await makeConstraint(tokenizer, { grammar });
    for (const text of allowed) {
      assert.ok(
        accepts(constraint, tokenizer, text, true),
        `${grammar}: ${text}`,
      );
    }
    for (const text of refused) {
      assert.ok(
        !accepts(constraint, tokenizer, text, true),
        `${grammar}: ${text}`,
      );
    }
  }
});

Deno.test("what is wrong is said, and in which line", () => {
  const wrong: [string, RegExp][] = [
    ["", /it has no rule root$/],
    ['a ::= "x"', /it has no rule root$/],
    ['root ::= "a"\nroot "b"', /::= is missing in line 2$/],
    ['root ::= "a', /it ends within a literal in line 1$/],
    ["root ::= [a-", /it ends within a literal in line 1$/],
    ['root ::=\n\n ("a" | "b"', /\) is missing in line 3$/],
    ['root ::= "a")', /"\)" is not expected in line 1$/],
    ["root ::= * ", /nothing to repeat in line 1$/],
    ['root ::= "a"{2', /\{m\}, .* is not complete in line 1$/],
    ['root ::= "a"{3,2}', /3 is more than 2 in line 1$/],
    ['root ::= "\\q"', /\\q is no escape in line 1$/],
    ['root ::= "\\U00110000"', /is no character in line 1$/],
    ['root ::= "a"\n  | b', /the name of a rule is missing in line 2$/],
    ["root ::= x y\nx ::= root2", /there is no rule y in line 1$/],
    ["root ::= <nothing>", /<nothing> is not one token in line 1$/],
    ["root ::= !a", /a token, such as <think>, is missing in line 1$/],
    ["root ::= [ab\nz-a]", /"z-a" is no range: "z" comes after "a" in line 2$/],
    ["root ::= [^z-a]", /"z-a" is no range/],
    ["root ::= <[99]> !<[100]>", /<\[100\]> .* has ids 0 to 99 in line 1$/],
    ["root ::= <[99999999999]>", /has ids 0 to 99 in line 1$/],
    ["::= a", /the name of a rule is missing in line 1$/],
  ];
  for (const [grammar, message] of wrong) {
    assert.throws(() => compileGbnf(grammar, 100, none), (error: Error) => {
      assert.ok(error instanceof UsageError, `${grammar}: ${error.stack}`);
      assert.match(error.message, message);
      return true;
    }, grammar);
  }
});

Deno.test("a grammar of any length is read, or refused by its limits", () => {
  for (
    const text of [
      `"${"a".repeat(190_000)}"`,
      `[${"a b".repeat(80_000)}]`,
      `(${Array(60_000).fill("x").join(" ")})*`,
    ]
  ) {
    const words = compileGbnf(`root ::= ${text}\nx ::= "a"`, 100, none);
    assert.ok(words.length > 0);
  }
  const rules = Array.from({ length: 12_000 }, (_, i) => `r${i} ::= r${i + 1}`);
  const grammar = `root ::= r0\n${rules.join("\n")}\nr12000 ::= "a"?`;
  assert.ok(compileGbnf(grammar, 100, none).length > 12_000);
});

Deno.test("any text is a grammar, or a typed error", () => {
  const parts = fc.constantFrom(
    ...'root ::= |\n|"a"|[a-z]|[^|]|(|)|*|+|?|{2,3}|{|}|.|<|>|!|\\|#|x| |"|-'
      .split("|"),
    "|",
  );
  fc.assert(fc.property(fc.array(parts, { maxLength: 30 }), (texts) => {
    try {
      compileGbnf(`root ::= ${texts.join("")}`, 100, none);
    } catch (error) {
      const { name } = error as Error;
      const typed = ["UsageError", "UnsupportedError", "LimitError"];
      assert.ok(typed.includes(name), (error as Error).stack);
    }
  }));
});

/** A regular expression, as GBNF and as JavaScript have it. */
interface Regular {
  readonly gbnf: string;
  readonly regex: string;
}

const { regular } = fc.letrec<{ regular: Regular }>((tie) => ({
  regular: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom("a", "b", "ab", "é").map((text) => ({
      gbnf: `"${text}"`,
      regex: text,
    })),
    fc.constantFrom("[ab]", "[^a]", "[é-ë]", ".").map((text) => ({
      gbnf: text,
      regex: text,
    })),
    fc.tuple(
      tie("regular"),
      fc.constantFrom("*", "+", "?", "{2}", "{1,2}", "{2,}"),
    )
      .map(([{ gbnf, regex }, times]) => ({
        gbnf: `(${gbnf})${times}`,
        regex: `(?:${regex})${times}`,
      })),
    fc.tuple(tie("regular"), tie("regular")).map(([a, b]) => ({
      gbnf: `${a.gbnf} ${b.gbnf}`,
      regex: a.regex + b.regex,
    })),
    fc.tuple(tie("regular"), tie("regular")).map(([a, b]) => ({
      gbnf: `(${a.gbnf} | ${b.gbnf})`,
      regex: `(?:${a.regex}|${b.regex})`,
    })),
  ),
}));

Deno.test("regular grammars allow what JavaScript's expressions match", async () => {
  const texts = fc.array(fc.constantFrom("a", "b", "é", "c"), { maxLength: 7 })
    .map((characters) => characters.join(""));
  await fc.assert(
    fc.asyncProperty(
      regular,
      fc.array(texts, { minLength: 8, maxLength: 8 }),
      async ({ gbnf, regex }, texts) => {
        const whole = new RegExp(`^(?:${regex})$`, "su");
        using constraint = await makeConstraint(tokenizer, {
          grammar: `root ::= ${gbnf}`,
        });
        for (const text of texts) {
          const allowed = accepts(constraint, tokenizer, text);
          assert.equal(allowed, whole.test(text), `${gbnf}: ${text}`);
        }
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("grammars that may be read in ever more ways are given up", async () => {
  const grammar =
    'root ::= (x | "a" x | "aa" x)\nx ::= ("a" x "b" | "a" x "c" | "a" x)?';
  using constraint = await makeConstraint(tokenizer, { grammar });
  const write = () => {
    for (let i = 0; i < 5000; i++) {
      constraint.mask();
      constraint.take(97);
    }
  };
  assert.throws(write, LimitError);
});

const folder = new URL(
  "../../.cache/peer/node_modules/node-llama-cpp/llama/grammars/",
  import.meta.url,
);

/** A text of each of llama.cpp's grammars, and one that is none. */
const llamaCpp: Readonly<Record<string, readonly [string, string]>> = {
  arithmetic: ["a1+(2 *b)= 3\n", "a1+=3\n"],
  c: ["int main(){return  1+f(x, 2);//x\n}", "int main(){return;}"],
  chess: ["1. e4 e5\n2. Nf3 Nc6\n3. O-O exd5=Q+\n", "1. e4\n"],
  english: ["Hello, world! [x]\\", "Hellö"],
  japanese: ["日本 ひらがな、カタカナ", "日本!"],
  json: ['{"a": [1, -2.5e3, null], "b":"\\u00e9"}', '{"a": 01}'],
  json_arr: ['[\n"a",\n{"b": true}]', '{"a": 1}'],
  list: ["- one\n- two é\n", "one\n"],
};

const isHere = await Deno.stat(folder).then(() => true, () => false);
testNeeding(needs.peer, isHere, {
  name: "llama.cpp's own grammars allow their texts",
  async fn() {
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
      .filter((name) => name.endsWith(".gbnf"));
    assert.deepEqual(
      names.sort(),
      Object.keys(llamaCpp).map((name) => `${name}.gbnf`),
    );
    for (const [name, [allowed, refused]] of Object.entries(llamaCpp)) {
      const grammar = await Deno.readTextFile(new URL(`${name}.gbnf`, folder));
      using constraint = await makeConstraint(tokenizer, { grammar });
      assert.ok(accepts(constraint, tokenizer, allowed), name);
      assert.ok(!accepts(constraint, tokenizer, refused), name);
    }
  },
});
