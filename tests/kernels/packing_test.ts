import assert from "node:assert/strict";
import { kindNames, packedRowBytes } from "../../src/kernels/packing.ts";
import { builds, Instance } from "../wasm/instance.ts";

Deno.test("rows of every packed kind have the bytes that the kernels count", () => {
  const { kernels } = new Instance(builds.simd128);
  for (const kind of kindNames.keys()) {
    for (const columns of [1, 32, 64, 65, 96, 128, 160, 192, 300, 4096]) {
      assert.equal(
        packedRowBytes(kind, columns),
        kernels.packed_row_bytes(kind, columns),
        `${columns} weights of ${kindNames[kind]}`,
      );
    }
  }
  assert.equal(kernels.packed_row_bytes(kindNames.length, 32), 0);
});
