import assert from "node:assert/strict";
import { UsageError } from "../../../src/errors.ts";
import {
  ggmlTypeById,
  ggmlTypes,
  rowBytes,
  tensorBytes,
} from "../../../src/formats/ggml/types.ts";
import { typeGoldens } from "./goldens.ts";

Deno.test("numbers and block sizes are those of gguf-py", () => {
  const ours = Object.values(ggmlTypes).map((
    { name, id, blockSize, blockBytes },
  ) => [name, { id, blockSize, blockBytes }]);
  assert.deepEqual(Object.fromEntries(ours), typeGoldens);
});

Deno.test("a type is found by its number, an unknown number gives none", () => {
  for (const info of Object.values(ggmlTypes)) {
    assert.equal(ggmlTypeById(info.id), info);
  }
  assert.equal(ggmlTypeById(4), undefined);
  assert.equal(ggmlTypeById(-1), undefined);
});

Deno.test("rowBytes counts whole blocks and refuses parts of one", () => {
  assert.equal(rowBytes("F32", 3), 12);
  assert.equal(rowBytes("Q4_0", 4096), 2304);
  assert.equal(rowBytes("Q6_K", 512), 420);
  assert.throws(() => rowBytes("Q4_0", 33), UsageError);
  assert.throws(() => rowBytes("F32", -1), UsageError);
});

Deno.test("tensorBytes counts the rows of all dimensions", () => {
  assert.equal(tensorBytes("F32", [3]), 12);
  assert.equal(tensorBytes("Q4_0", [64, 5]), 180);
  assert.equal(tensorBytes("F16", [3, 2, 4, 1]), 48);
  assert.throws(() => tensorBytes("Q4_0", [33, 2]), UsageError);
});
