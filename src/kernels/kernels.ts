/**
 * The WASM module of kernels: which build this engine can run. The builds are
 * modules of text, because there is no other way to bytes that every module
 * loader, every bundler and a sandbox without permissions knows.
 */
import { unpackText } from "../bytes/packed_text.ts";
import { compileWasm } from "../platform/compiled_wasm.ts";

/** A compiled build of the kernels. */
export interface KernelModule {
  /** Which build, for people */
  readonly name: "relaxed SIMD" | "SIMD128";
  readonly module: WebAssembly.Module;
}

/**
 * A module whose one function uses `i16x8.relaxed_dot_i8x16_i7x16_s`: engines
 * without relaxed SIMD refuse it.
 */
// deno-fmt-ignore
const relaxedProbe = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, // magic, version 1
  1, 5, 1, 96, 0, 1, 123, // one type: () -> v128
  3, 2, 1, 0, // one function of that type
  10, 15, 1, 13, 0, // its body, without locals:
  65, 0, 253, 15, // i32.const 0, i8x16.splat
  65, 0, 253, 15, // the same
  253, 146, 2, 11, // i16x8.relaxed_dot_i8x16_i7x16_s, end
]);

const builds = {
  relaxed: () => import("../../wasm/relaxed.js"),
  simd128: () => import("../../wasm/simd128.js"),
};

/** With relaxed SIMD, or without. */
export type KernelBuild = keyof typeof builds;

/** The WebAssembly of a build. */
export async function kernelBytes(build: KernelBuild): Promise<ArrayBuffer> {
  const { default: text } = await builds[build]();
  return await unpackText(text);
}

const compiled = new Map<KernelBuild, Promise<WebAssembly.Module>>();

/** A build, compiled once. */
export function compileKernels(
  build: KernelBuild,
): Promise<WebAssembly.Module> {
  const module = compiled.get(build) ??
    compileWasm(build, () => kernelBytes(build));
  compiled.set(build, module);
  return module;
}

/** The fastest build that this engine runs. */
export async function loadKernels(): Promise<KernelModule> {
  return WebAssembly.validate(relaxedProbe)
    ? { name: "relaxed SIMD", module: await compileKernels("relaxed") }
    : { name: "SIMD128", module: await compileKernels("simd128") };
}
