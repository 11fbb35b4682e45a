/** Names that every JavaScript object has are no names of ours: where a stranger's text is looked up, they are unknown. */
import assert from "node:assert/strict";
import {
  CulmError,
  parseSamplers,
  parseSparsity,
  type SamplerName,
} from "../mod.ts";
import { checkSamplingOptions } from "../src/sampling/options.ts";
import { fromBuffer, readSafetensors } from "../gguf.ts";
import { readConfig } from "../src/convert/config.ts";
import { tensorOfHub } from "../src/convert/tensor_names.ts";
import { pretokenizerNamed } from "../src/tokenizer/pretokenizer.ts";

const names = ["constructor", "__proto__", "toString", "hasOwnProperty"];

/** A safetensors file of one tensor of a type. */
function safetensors(dtype: string) {
  const header = new TextEncoder().encode(JSON.stringify({
    [dtype]: { dtype, shape: [1], data_offsets: [0, 4] },
  }));
  const bytes = new Uint8Array(8 + header.length + 4);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  return fromBuffer(bytes);
}

const lookups: Record<string, (name: string) => unknown> = {
  "a sampler": parseSamplers,
  "a sampler in a list": (name) =>
    checkSamplingOptions({ samplers: [name as SamplerName] }, 100),
  "a sparsity": parseSparsity,
  "a pretokenizer": pretokenizerNamed,
  "a type of tensors": (name) => readSafetensors(safetensors(name)),
  "a Hugging Face architecture": (model_type) =>
    readConfig({ model_type, hidden_size: 64 }, "config.json"),
};

for (const [what, lookUp] of Object.entries(lookups)) {
  Deno.test(`names that objects have are unknown as ${what}`, async () => {
    for (const name of names) {
      await assert.rejects(async () => await lookUp(name), (error) => {
        assert(error instanceof CulmError, String(error));
        return true;
      });
    }
  });
}

Deno.test("names that objects have are no tensors' names", () => {
  for (const name of names) {
    assert.equal(tensorOfHub(name), undefined);
    assert.equal(tensorOfHub(`model.layers.0.${name}.weight`), undefined);
  }
});
