/**
 * Builds the kernels of `wasm/` into `wasm/pkg`, once with relaxed SIMD and once
 * with plain SIMD128. The bytes depend only on the sources and the pinned tools,
 * not on the folder. With `--check` compares the committed files instead.
 *
 * Run: `deno task wasm`
 *
 * @module
 */

import { writeOrCheck } from "./generated.ts";

const crate = new URL("../wasm/", import.meta.url);

const features = {
  relaxed: "+simd128,+relaxed-simd",
  simd128: "+simd128",
};

/**
 * Flags to rustc: the stack is small because no kernel keeps much on it; LLVM is
 * not to compute addresses of rows from those of others, for which V8 spills.
 */
function rustFlags(targetFeatures: string): string {
  const home = Deno.env.get("CARGO_HOME") ?? `${Deno.env.get("HOME")}/.cargo`;
  return [
    `-Ctarget-feature=${targetFeatures}`,
    "-Clink-arg=-zstack-size=65536",
    "-Cllvm-args=-disable-lsr",
    `--remap-path-prefix=${crate.pathname}=`,
    `--remap-path-prefix=${home}=cargo`,
  ].join("\x1f");
}

/** Builds one variant with wasm-pack and returns the module's bytes. */
async function build(variant: keyof typeof features): Promise<Uint8Array> {
  const out = `target/pkg/${variant}`;
  const { success, stderr } = await new Deno.Command("wasm-pack", {
    args: ["build", "--release", "--target", "web", "--mode", "no-install"]
      .concat("--no-pack", "--no-typescript", "--out-dir", out, "."),
    cwd: crate,
    env: {
      CARGO_ENCODED_RUSTFLAGS: rustFlags(features[variant]),
      CARGO_TARGET_DIR: `target/${variant}`,
    },
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) {
    console.error(new TextDecoder().decode(stderr));
    console.error(`Cannot build the ${variant} kernels: wasm-pack failed`);
    Deno.exit(1);
  }
  return await Deno.readFile(new URL(`${out}/culm_kernels_bg.wasm`, crate));
}

for (const variant of ["relaxed", "simd128"] as const) {
  const bytes = await build(variant);
  const target = new URL(`pkg/${variant}.wasm`, crate);
  await Deno.mkdir(new URL(".", target), { recursive: true });
  await writeOrCheck(target, bytes, "wasm");
}
