/**
 * What the pages of `deno task bench:browser` load. The peers are installed from
 * npm into `.cache/peer-browser`, where the models are made too; they are no
 * dependencies of culm.
 */
import { dirname } from "node:path";
import * as esbuild from "esbuild";
import { exists } from "../../cli/output_file.ts";
import { convert } from "../../convert.ts";
import { openFile } from "../../gguf.ts";
import { onnxModel } from "./onnx_model.ts";

const folder = ".cache/peer-browser";
const modules = `${folder}/node_modules`;
const packages = ["@wllama/wllama@3.13.0", "@huggingface/transformers@4.3.2"];

export const sideNames = ["culm", "wllama", "transformers"] as const;

export type SideName = typeof sideNames[number];

/** Files by the paths that pages have them at. */
export type Files = Record<string, string>;

/** Scripts of this folder, with what they use of culm. */
export async function ownScripts(...names: string[]): Promise<Files> {
  const scripts = await emptyFolder("own");
  await run(Deno.execPath(), [
    ...["bundle", "--quiet", "--platform=browser", "--code-splitting"],
    ...["--minify", "--outdir", scripts],
    ...names.map((name) => `${import.meta.dirname}/${name}`),
  ]);
  return await filesIn(scripts);
}

/** The scripts of the peers' pages, and what they fetch of their engines. */
export async function peerScripts(): Promise<Files> {
  await installPeers();
  const scripts = await emptyFolder("peers");
  await esbuild.build({
    entryPoints: ["wllama.js", "transformers.js"].map((name) =>
      `${import.meta.dirname}/${name}`
    ),
    outdir: scripts,
    nodePaths: [modules],
    bundle: true,
    minify: true,
    format: "esm",
    logLevel: "error",
  });
  await esbuild.stop();
  const runtime = "ort-wasm-simd-threaded.asyncify";
  const dist = `${modules}/onnxruntime-web/dist`;
  return {
    ...await filesIn(scripts),
    "/wllama.wasm": `${modules}/@wllama/wllama/esm/wasm/wllama.wasm`,
    [`/${runtime}.mjs`]: `${dist}/${runtime}.mjs`,
    [`/${runtime}.wasm`]: `${dist}/${runtime}.wasm`,
  };
}

async function emptyFolder(name: string): Promise<string> {
  const path = `${folder}/${name}`;
  if (await exists(path)) await Deno.remove(path, { recursive: true });
  await Deno.mkdir(path, { recursive: true });
  return path;
}

async function filesIn(path: string): Promise<Files> {
  const names = await Array.fromAsync(Deno.readDir(path));
  return Object.fromEntries(
    names.map(({ name }) => [`/${name}`, `${path}/${name}`]),
  );
}

async function installPeers(): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  for (const each of packages) {
    const [, name, version] = each.match(/(.+)@(.+)/)!;
    const text = await Deno.readTextFile(`${modules}/${name}/package.json`)
      .catch(() => "{}");
    if (JSON.parse(text).version === version) continue;
    console.error(`Installing ${packages.join(", ")} into ${folder} …`);
    return await run("npm", [
      ...["install", "--prefix", folder, "--no-save", "--ignore-scripts"],
      ...packages,
    ]);
  }
}

async function run(command: string, args: string[]): Promise<void> {
  const { success } = await new Deno.Command(command, {
    args,
    stdout: "null",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")} failed`);
}

/** The types that the model is measured in; it comes in Q4_1. */
export const modelTypes = ["Q4_1", "Q8_0", "Q4_K_M"] as const;

export type ModelType = typeof modelTypes[number];

/** The model's files: for culm and wllama in such a type, and as ONNX in q4. */
export async function modelFiles(
  path: string,
  type: ModelType,
): Promise<Files> {
  const onnx = `${folder}/model`;
  if (!await exists(onnx)) {
    for (const [name, bytes] of Object.entries(await onnxModel(path))) {
      const file = `${onnx}.part/${name}`;
      await Deno.mkdir(dirname(file), { recursive: true });
      await Deno.writeFile(file, bytes);
    }
    await Deno.rename(`${onnx}.part`, onnx);
  }
  return {
    "/model.gguf": await inType(path, type),
    "/model/config.json": `${onnx}/config.json`,
    "/model/onnx/model_q4.onnx": `${onnx}/onnx/model_q4.onnx`,
  };
}

async function inType(path: string, type: ModelType): Promise<string> {
  if (type === "Q4_1") return path;
  const made = `${folder}/model-${type}.gguf`;
  if (await exists(made)) return made;
  const source = await openFile(path);
  const file = await convert(source, { type, allowRequantise: true });
  await Deno.writeFile(`${made}.part`, ReadableStream.from(file.chunks()));
  await file.close();
  await source.close();
  await Deno.rename(`${made}.part`, made);
  return made;
}
