import assert from "node:assert/strict";
import { UnsupportedError } from "../../mod.ts";
import { setWasm } from "../../server.ts";
import { compileWasm } from "../../src/platform/compiled_wasm.ts";

/** A module without anything in it. */
const empty = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);

Deno.test("WebAssembly that was compiled before is taken, and nothing else read", async () => {
  const module = await compileWasm("simd128", () => Promise.resolve(empty));
  assert.ok(module instanceof WebAssembly.Module);
  setWasm({ relaxed: module });
  const unread = () => Promise.reject(new Error("it was read"));
  assert.equal(await compileWasm("relaxed", unread), module);
});

Deno.test("an edge that compiles no WebAssembly is told how to give it", async () => {
  const { compile } = WebAssembly;
  WebAssembly.compile = () =>
    Promise.reject(new WebAssembly.CompileError("no"));
  try {
    await assert.rejects(
      compileWasm("constrain", () => Promise.resolve(empty)),
      (error) =>
        error instanceof UnsupportedError &&
        error.message ===
          "Cannot compile WebAssembly: no; setWasm takes constrain.wasm where it was compiled before",
    );
  } finally {
    WebAssembly.compile = compile;
  }
});
