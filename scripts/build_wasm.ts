/**
 * Builds the kernels of `wasm/` into `wasm/pkg`, once with relaxed SIMD and once
 * with plain SIMD128, and `wasm-constrain/` into its `pkg`. The bytes depend only
 * on the sources and the pinned tools, not on the folder. With `--check` compares
 * the committed files instead.
 *
 * Run: `deno task wasm`
 *
 * @module
 */

import { writeOrCheck } from "./generated.ts";

const crate = new URL("../wasm/", import.meta.url);
const constrainCrate = new URL("../wasm-constrain/", import.meta.url);

const features = {
  relaxed: "+simd128,+relaxed-simd",
  simd128: "+simd128",
};

/** Flags to rustc, with which no folder's name is in what it makes. */
function rustFlags(folder: URL, flags: readonly string[]): string {
  const home = Deno.env.get("CARGO_HOME") ?? `${Deno.env.get("HOME")}/.cargo`;
  return [
    ...flags,
    `--remap-path-prefix=${folder.pathname}=`,
    `--remap-path-prefix=${home}=cargo`,
  ].join("\x1f");
}

/**
 * The stack is small because no kernel keeps much on it; LLVM is not to compute
 * addresses of rows from those of others, for which V8 spills.
 */
function kernelFlags(targetFeatures: string): string {
  return rustFlags(crate, [
    `-Ctarget-feature=${targetFeatures}`,
    "-Clink-arg=-zstack-size=65536",
    "-Cllvm-args=-disable-lsr",
  ]);
}

/** Builds one variant with wasm-pack and returns the module's bytes. */
async function build(variant: keyof typeof features): Promise<Uint8Array> {
  const out = `target/pkg/${variant}`;
  const { success, stderr } = await new Deno.Command("wasm-pack", {
    args: ["build", "--release", "--target", "web", "--mode", "no-install"]
      .concat("--no-pack", "--no-typescript", "--out-dir", out, "."),
    cwd: crate,
    env: {
      CARGO_ENCODED_RUSTFLAGS: kernelFlags(features[variant]),
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

/** Builds what says which tokens may come next. Its memory ends where a stranger's grammar has taken half a GiB. */
async function buildConstrain(): Promise<Uint8Array> {
  const target = "wasm32-unknown-unknown";
  const { success, stderr } = await new Deno.Command("cargo", {
    args: ["build", "--release", "--locked", "--target", target],
    cwd: constrainCrate,
    env: {
      CARGO_ENCODED_RUSTFLAGS: rustFlags(constrainCrate, [
        "-Ctarget-feature=+simd128",
        "-Clink-arg=--max-memory=536870912",
      ]),
      CARGO_TARGET_DIR: "target",
    },
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) {
    console.error(new TextDecoder().decode(stderr));
    console.error("Cannot build wasm-constrain: cargo failed");
    Deno.exit(1);
  }
  const file = `target/${target}/release/culm_constrain.wasm`;
  return await Deno.readFile(new URL(file, constrainCrate));
}

for (const variant of ["relaxed", "simd128"] as const) {
  const bytes = await build(variant);
  const target = new URL(`pkg/${variant}.wasm`, crate);
  await Deno.mkdir(new URL(".", target), { recursive: true });
  await writeOrCheck(target, bytes, "wasm");
}

const constrain = new URL("pkg/constrain.wasm", constrainCrate);
await Deno.mkdir(new URL(".", constrain), { recursive: true });
await writeOrCheck(constrain, await buildConstrain(), "wasm");
