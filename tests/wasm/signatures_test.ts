/**
 * `wasm/kernels.d.ts` against the modules: a missing argument would be 0 in
 * silence, one too many would be dropped.
 */
import assert from "node:assert/strict";
import { kernelBytes } from "../../src/kernels/kernels.ts";

/** How many numbers a function takes and gives. */
interface Signature {
  readonly parameters: number;
  readonly results: number;
}

/** Reads a module's sections (WebAssembly core specification, 5.5). */
class ModuleReader {
  #at = 8;

  constructor(readonly bytes: Uint8Array) {}

  /** An unsigned LEB128 number. */
  number(): number {
    let value = 0;
    for (let shift = 0;; shift += 7) {
      const byte = this.bytes[this.#at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  skip(bytes: number): void {
    this.#at += bytes;
  }

  name(): string {
    const length = this.number();
    this.#at += length;
    return new TextDecoder()
      .decode(this.bytes.subarray(this.#at - length, this.#at));
  }

  list<T>(read: () => T): T[] {
    return Array.from({ length: this.number() }, read);
  }

  /** The signatures of the functions that the module exports. It imports nothing. */
  exports(): Record<string, Signature> {
    let types: Signature[] = [], functions: number[] = [];
    const signatures: Record<string, Signature> = {};
    while (this.#at < this.bytes.length) {
      const section = this.number();
      const end = this.number() + this.#at;
      assert.notEqual(section, 2, "the module imports something");
      if (section === 1) {
        types = this.list(() => {
          this.skip(1);
          const parameters = this.list(() => this.skip(1)).length;
          return { parameters, results: this.list(() => this.skip(1)).length };
        });
      } else if (section === 3) functions = this.list(() => this.number());
      else if (section === 7) {
        this.list(() => {
          const name = this.name(), kind = this.number(), index = this.number();
          if (kind === 0) signatures[name] = types[functions[index]];
        });
      }
      this.#at = end;
    }
    return signatures;
  }
}

/** The signatures that the declarations promise. */
function declared(text: string): Record<string, Signature> {
  const code = text.replaceAll(/\/\*\*.*?\*\//gs, "");
  const methods = code.matchAll(/^ {2}(\w+)\(([^)]*)\): (\w+);/gm);
  return Object.fromEntries(Array.from(methods, ([, name, list, result]) => [
    name,
    {
      parameters: list.split(":").length - 1,
      results: result === "void" ? 0 : 1,
    },
  ]));
}

const folder = new URL("../../wasm/", import.meta.url);

for (const build of ["relaxed", "simd128"] as const) {
  Deno.test(`kernels.d.ts declares what the ${build} module exports`, async () => {
    const bytes = new Uint8Array(await kernelBytes(build));
    const text = await Deno.readTextFile(new URL("kernels.d.ts", folder));
    const expected = declared(text);
    assert(Object.keys(expected).length > 20);
    assert.deepEqual(new ModuleReader(bytes).exports(), expected);
  });
}
