import assert from "node:assert/strict";
import { runCli, runHere } from "./run_cli.ts";
import { tempFolder } from "./temp_folder.ts";

const schema =
  '{"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"], "additionalProperties": false}';
const grammar = 'root ::= " " ("red" | "blue") "."\n';

Deno.test("a schema or a grammar, from a flag or a file, holds the text", async () => {
  await using folder = await tempFolder();
  const schemaFile = `${folder.path}/schema.json`;
  const grammarFile = `${folder.path}/ball.gbnf`;
  await Deno.writeTextFile(schemaFile, schema);
  await Deno.writeTextFile(grammarFile, grammar);
  const flags = [
    ["-j", schema],
    ["--json-schema", schema],
    ["-jf", schemaFile],
    ["--json-schema-file", schemaFile],
    ["--grammar", grammar],
    ["--grammar-file", grammarFile],
  ];
  const args = ["-p", "The ball is", "--no-display-prompt", "-s", "1"];
  for (const held of flags) {
    const { code, out, err } = await runHere(["generate", ...args, ...held]);
    assert.equal(code, 0, err);
    if (held[1].includes("ball") || held[0] === "--grammar") {
      assert.match(out, /^ (red|blue)\.\n$/);
    } else assert.match(JSON.parse(out).colour, /^(red|blue)$/);
  }
});

Deno.test("each answer of a chat is held to it, and needs no permission", async () => {
  const { code, out, err } = await runCli(["chat", "--grammar", grammar], {
    input: "Which colour?\nAnd then?\n",
  });
  assert.equal(code, 0, err);
  assert.match(out, /^ (red|blue)\.\n (red|blue)\.\n$/);
});

Deno.test("what the text cannot be held to is said in one line", async () => {
  const wrong: [string[], RegExp][] = [
    [["-j", "{"], /^error: Cannot use --json-schema: it is no JSON \(.*\)\n/],
    [["-j", '{"not": {}}'], /error: .*not at # is not supported/],
    [["-j", "5"], /error: Cannot use schema 5: it is a JSON schema/],
    [
      ["-j", "{}", "--grammar", "root ::= x"],
      /^error: Cannot hold the text to --json-schema and --grammar: give one/,
    ],
    [
      ["--grammar", "root ::= x"],
      /error: Cannot read the grammar: there is no/,
    ],
    [["--grammar-file", "/nowhere.gbnf"], /error: Cannot read .*nowhere\.gbnf/],
  ];
  for (const [flags, message] of wrong) {
    const { code, err } = await runHere(["generate", "-p", "A", ...flags]);
    assert.notEqual(code, 0);
    assert.match(err, message);
  }
});
