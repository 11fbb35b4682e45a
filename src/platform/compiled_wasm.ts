/** WebAssembly that is there compiled, and what is compiled of bytes. */
import { UnsupportedError } from "../errors.ts";

/** The library's WebAssembly: two builds of the kernels, of which an engine with relaxed SIMD takes the first, and what holds texts to a form. */
export type WasmName = "relaxed" | "simd128" | "constrain";

const given: { [Name in WasmName]?: WebAssembly.Module } = {};

/**
 * Takes WebAssembly as it was compiled before, from now on: for edges that
 * compile none while they run. The npm package has the files, `relaxed.wasm`
 * and `constrain.wasm`.
 *
 * @example
 * ```ts ignore
 * import relaxed from "@culm/culm/relaxed.wasm"; // as Cloudflare's tools have it
 * import { setWasm } from "@culm/culm/server";
 *
 * setWasm({ relaxed });
 * ```
 */
export function setWasm(
  modules: { readonly [Name in WasmName]?: WebAssembly.Module },
): void {
  Object.assign(given, modules);
}

/**
 * What was given, or made of `bytes`.
 *
 * @throws {UnsupportedError} where nothing may be compiled
 */
export async function compileWasm(
  name: WasmName,
  bytes: () => Promise<BufferSource>,
): Promise<WebAssembly.Module> {
  const known = given[name];
  if (known) return known;
  const unread = await bytes();
  try {
    return await WebAssembly.compile(unread);
  } catch (cause) {
    throw new UnsupportedError(
      `Cannot compile WebAssembly: ${
        (cause as Error).message
      }; setWasm takes ${name}.wasm where it was compiled before`,
      { cause },
    );
  }
}
