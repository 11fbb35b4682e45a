import assert from "node:assert/strict";
import { dataUrl, testWithData } from "../helpers/shared_data.ts";
import { llamaCppPath, llamaCppTokenizer, parseIds } from "./vocabularies.ts";

const SEPARATOR = "\n__ggml_vocab_test__\n";

for (const name of ["llama-spm", "gpt-2"] as const) {
  const path = llamaCppPath(name);
  testWithData(`${name} gives llama.cpp's ids`, [path], async () => {
    const tokenizer = await llamaCppTokenizer(name);
    // The separator also ends the last text; each line of ids begins with a space.
    const texts = Deno.readTextFileSync(dataUrl(`${path}.inp`))
      .split(SEPARATOR).slice(0, -1);
    const expected = Deno.readTextFileSync(dataUrl(`${path}.out`))
      .split("\n").slice(0, -1).map((line) => parseIds(line.trim()));
    assert.equal(texts.length, 46);
    assert.equal(expected.length, texts.length);
    texts.forEach((text, i) => {
      assert.deepEqual(
        tokenizer.encode(text, { addSpecial: false }),
        expected[i],
        JSON.stringify(text),
      );
    });
  });
}

const both = [llamaCppPath("llama-spm"), llamaCppPath("gpt-2")];

testWithData("BOS comes first where the file asks for it", both, async () => {
  const llama = await llamaCppTokenizer("llama-spm");
  assert.deepEqual(llama.encode("Hello"), [1, 15043]);
  assert.deepEqual(llama.encode(""), [1]);
  const gpt2 = await llamaCppTokenizer("gpt-2");
  assert.equal(gpt2.addBos, false);
  assert.deepEqual(gpt2.encode("Hello"), [15496]);
});

testWithData(
  "special tokens are read from a text only on request",
  both,
  async () => {
    const llama = await llamaCppTokenizer("llama-spm");
    const parsed = llama.encode("</s>Hello<s> Hello", {
      addSpecial: false,
      parseSpecial: true,
    });
    // As in llama.cpp, the space prefix comes again after a special token.
    assert.deepEqual(parsed, [2, 15043, 1, 29871, 15043]);
    const plain = llama.encode("</s>Hello<s> Hello", { addSpecial: false });
    assert.ok(!plain.includes(1) && !plain.includes(2));
    assert.equal(llama.decode(plain), "</s>Hello<s> Hello");

    const gpt2 = await llamaCppTokenizer("gpt-2");
    const end = "<|endoftext|>";
    assert.deepEqual(gpt2.encode(end, { parseSpecial: true }), [50256]);
    assert.ok(!gpt2.encode(end).includes(50256));
    assert.equal(gpt2.decode(gpt2.encode(end)), end);
  },
);
