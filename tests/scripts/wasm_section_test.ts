import assert from "node:assert/strict";
import fc from "fast-check";
import { wasmWithSection } from "../../scripts/wasm_section.ts";

Deno.test("WebAssembly reads back the section that was written", () => {
  // Lengths around 2^7 and 2^14, where the length field grows by a byte.
  const length = fc.oneof(
    fc.nat(300),
    fc.integer({ min: 16_300, max: 16_500 }),
  );
  fc.assert(fc.property(length, fc.string(), (length, name) => {
    const payload = new Uint8Array(length).map((_, i) => i * 31);
    const module = new WebAssembly.Module(
      wasmWithSection(name.toWellFormed(), payload),
    );
    const sections = WebAssembly.Module.customSections(
      module,
      name.toWellFormed(),
    );
    assert.equal(sections.length, 1);
    assert.deepEqual(new Uint8Array(sections[0]), payload);
  }));
});
