/** Tokenizers of Hugging Face's, through the GGUF file that conversion writes. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openFolder } from "../../src/bytes/folder.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { tokenizerMetadata } from "../../src/convert/tokenizer_metadata.ts";
import type { MetadataEntry } from "../../src/formats/gguf/gguf_file.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { toBuffer, writeGguf } from "../../src/formats/gguf/write.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { memoryFolder } from "../helpers/memory_folder.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { dataUrl, hasShared } from "../helpers/shared_data.ts";
import goldens from "../tokenizer/goldens/hugging_face.json" with {
  type: "json",
};
import { parseIds } from "../tokenizer/vocabularies.ts";

/** What a program reads that is given the file. */
async function written(
  metadata: Iterable<[string, MetadataEntry]>,
): Promise<Tokenizer> {
  const file = { metadata: new Map(metadata), tensors: [] };
  const bytes = await toBuffer(writeGguf(file));
  return tokenizerFromGguf(await readGguf(fromBuffer(bytes, "made.gguf")));
}

/** A tokenizer.json of the goldens, and how many ids it has. */
function smallFile(name: keyof typeof goldens.small) {
  const { file, tokens, hasPairs } = goldens.small[name];
  const model = goldens.models[tokens];
  const pairs = model.merges.map((merge) => merge.split(" "));
  const texts = [
    ...model.tokens.split(" "),
    ...pairs.map((pair) => pair.join("")),
  ];
  const json = {
    ...file,
    model: {
      ...file.model,
      vocab: Object.fromEntries(texts.map((text, id) => [text, id])),
      merges: hasPairs ? pairs : model.merges,
    },
  };
  const ids = file.added_tokens.map(({ id }) => id + 1);
  return { json, size: Math.max(texts.length, ...ids) };
}

for (const [name, expected] of Object.entries(goldens.small)) {
  Deno.test(`a tokenizer.json as ${name} gives Hugging Face's ids`, async () => {
    const { json, size } = smallFile(name as keyof typeof goldens.small);
    const { metadata, notes } = await tokenizerMetadata(
      memoryFolder({ "tokenizer.json": json }),
      {},
      size,
    );
    assert.deepEqual(notes, []);
    const tokenizer = await written(metadata);
    const encode = (text: string) =>
      tokenizer.encode(text, { parseSpecial: true });
    expected.ids.forEach((ids, i) => {
      const text = goldens.texts[i];
      assert.deepEqual(encode(text), parseIds(ids), JSON.stringify(text));
    });
    assert.equal(goldens.texts.length, 224);
    assert.equal(sha256(goldens.texts.flatMap(encode)), expected.texts);
  });
}

function sha256(ids: readonly number[]): string {
  const bytes = new DataView(new ArrayBuffer(4 * ids.length));
  ids.forEach((id, at) => bytes.setUint32(4 * at, id, true));
  return createHash("sha256").update(bytes).digest("hex");
}

const wikitext = "text/wikitext2-test.raw";

for (const [name, expected] of Object.entries(goldens.large)) {
  const folder = new URL(`../../.cache/tokenizers/${name}`, import.meta.url);
  const hasText = hasShared(`data/${wikitext}`);
  testNeeding(
    hasText ? needs.tokenizers : needs.data,
    hasText && existsSync(folder),
    {
      name: `${name} gives Hugging Face's ids on all of WikiText-2`,
      fn: async () => {
        const { metadata } = await tokenizerMetadata(
          await openFolder(fileURLToPath(folder)),
          {},
          1 << 18,
        );
        const tokenizer = await written(metadata);
        const encode = (text: string) =>
          tokenizer.encode(text, { addSpecial: false, parseSpecial: true });
        const texts = goldens.texts.flatMap(encode);
        assert.equal(sha256(texts), expected.texts);
        const ids = encode(await Deno.readTextFile(dataUrl(wikitext)));
        assert.equal(ids.length, expected.count);
        assert.equal(sha256(ids), expected.wikitext);
      },
    },
  );
}
