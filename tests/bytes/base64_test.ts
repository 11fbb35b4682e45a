import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fromBase64 } from "../../src/bytes/base64.ts";

const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);

/** RFC 4648, section 10; every byte, by Node's encoder. */
const encoded = {
  "": new Uint8Array(),
  "Zg==": new TextEncoder().encode("f"),
  "Zm9vYg==": new TextEncoder().encode("foob"),
  "Zm9vYmFy": new TextEncoder().encode("foobar"),
  [Buffer.from(everyByte).toString("base64")]: everyByte,
};

function check(): void {
  for (const [text, bytes] of Object.entries(encoded)) {
    assert.deepEqual(fromBase64(text), bytes);
  }
}

Deno.test("base64 is read", check);

Deno.test("base64 is read where Uint8Array cannot", () => {
  const native = Object.getOwnPropertyDescriptor(Uint8Array, "fromBase64")!;
  Reflect.deleteProperty(Uint8Array, "fromBase64");
  try {
    check();
  } finally {
    Object.defineProperty(Uint8Array, "fromBase64", native);
  }
});
