import assert from "node:assert/strict";
import {
  bfloat16ToFloat,
  floatToBfloat16,
  floatToHalf,
  halfToFloat,
} from "../../../src/formats/ggml/half.ts";

Deno.test("every f16 becomes what DataView reads, and comes back", () => {
  const view = new DataView(new ArrayBuffer(2));
  for (let bits = 0; bits < 65536; bits++) {
    view.setUint16(0, bits);
    const expected = view.getFloat16(0);
    const value = halfToFloat(bits);
    assert.ok(Object.is(value, expected), `${bits}: ${value}, ${expected}`);
    if (!Number.isNaN(value)) assert.equal(floatToHalf(value), bits);
  }
});

Deno.test("numbers between two f16 round as DataView rounds f32", () => {
  const view = new DataView(new ArrayBuffer(2));
  for (let bits = 0; bits < 0x7c00; bits++) {
    const low = halfToFloat(bits);
    const high = bits === 0x7bff ? 65536 : halfToFloat(bits + 1);
    for (const share of [0.25, 0.499, 0.5, 0.501, 0.75]) {
      const value = Math.fround(low + (high - low) * share);
      view.setFloat16(0, value);
      assert.equal(floatToHalf(value), view.getUint16(0), `${value}`);
      assert.equal(floatToHalf(-value), view.getUint16(0) | 0x8000);
    }
  }
});

Deno.test("every bfloat16 comes back, and NaN stays NaN", () => {
  for (let bits = 0; bits < 65536; bits++) {
    const value = bfloat16ToFloat(bits);
    if (Number.isNaN(value)) {
      assert.ok(Number.isNaN(bfloat16ToFloat(floatToBfloat16(value))));
    } else {
      assert.equal(floatToBfloat16(value), bits);
    }
  }
});

Deno.test("NaN becomes an f16 NaN, and what is beyond f16 an infinity", () => {
  assert.ok(Number.isNaN(halfToFloat(floatToHalf(NaN))));
  assert.equal(halfToFloat(floatToHalf(1e9)), Infinity);
  assert.equal(halfToFloat(floatToHalf(-1e9)), -Infinity);
});
