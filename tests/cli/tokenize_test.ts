import assert from "node:assert/strict";
import { readGguf } from "../../gguf.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { runCli } from "./run_cli.ts";

const tokenizer = tokenizerFromGguf(await readGguf(tinyBamboo()));

Deno.test("tokens are printed as llama-tokenize prints them", async () => {
  const { code, out, err } = await runCli([
    "tokenize",
    "-p",
    "Tom ran.",
    "--show-count",
  ]);
  const ids = tokenizer.encode("Tom ran.");
  const lines = out.trimEnd().split("\n");
  assert.deepEqual([code, err], [0, ""]);
  assert.equal(lines.pop(), `Total number of tokens: ${ids.length}`);
  assert.equal(lines[0], "     1 -> '<s>'");
  assert.deepEqual(lines.map((line) => parseInt(line)), ids);
  const text = lines.slice(1).map((line) => line.match(/-> '(.*)'$/)![1]).join(
    "",
  );
  assert.equal(text, " Tom ran.");
});

Deno.test("ids alone, without BOS, and with special tokens read", async () => {
  const ids = (text: string, args: string[]) =>
    runCli(["tokenize", "--ids", ...args], { input: text }).then(({ out }) =>
      JSON.parse(out)
    );
  assert.deepEqual(
    await ids("Tom", ["--no-bos"]),
    tokenizer.encode("Tom", { addSpecial: false }),
  );
  assert.deepEqual(await ids("a</s>", []), tokenizer.encode("a</s>"));
  const parsed = await ids("a</s>", ["--parse-special"]);
  assert.equal(parsed.at(-1), tokenizer.eos);
});
