import assert from "node:assert/strict";
import { pretokenizerNames } from "../../src/tokenizer/pretokenizer.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import goldens from "./goldens/pretokenizers.json" with { type: "json" };
import {
  pretokenizerMetadata,
  pretokenizerTexts,
} from "./pretokenizer_vocabulary.ts";
import { fileWith } from "./small_vocabularies.ts";
import { parseIds } from "./vocabularies.ts";

for (const { names, ids } of goldens.groups) {
  Deno.test(`pre-tokenizers as ${names[0]} give llama.cpp's ids`, () => {
    assert.deepEqual(goldens.texts, pretokenizerTexts);
    for (const name of names) {
      const file = fileWith(pretokenizerMetadata(name));
      const tokenizer = tokenizerFromGguf(file);
      pretokenizerTexts.forEach((text, i) => {
        const own = tokenizer.encode(text, { addSpecial: false });
        const message = `${name}: ${JSON.stringify(text)}`;
        assert.deepEqual(own, parseIds(ids[i]), message);
      });
    }
  });
}

Deno.test("every pre-tokenizer that llama.cpp's source names is known, also those that its build here is not", () => {
  const tested = goldens.groups.flatMap(({ names }) => names);
  assert.deepEqual([...tested, ...goldens.unknown].sort(), pretokenizerNames);
  assert.equal(pretokenizerNames.length, 91);
});
