/**
 * The peers of `deno task bench:peer`: llama.cpp as npm ships it, and llama.cpp
 * built for this very CPU where it is installed.
 *
 * @module
 */
import { exists } from "../../cli/output_file.ts";

const prebuilt = "node-llama-cpp@3.22.1";
const folder = ".cache/peer";

const script = (name: string) => `${import.meta.dirname}/${name}`;

/** A peer, by the command that starts it with a model file. */
export interface Peer {
  readonly name: string;
  command(modelPath: string, threads: string, contextSize: number): string[];
}

/** Installs npm's llama.cpp into `.cache/peer` once; it is no dependency of culm. */
export async function prebuiltPeer(): Promise<Peer> {
  await Deno.mkdir(folder, { recursive: true });
  const entry = `${folder}/node_modules/node-llama-cpp/dist/index.js`;
  if (!await exists(entry)) {
    console.error(`Installing ${prebuilt} into ${folder} …`);
    const { success } = await new Deno.Command("npm", {
      args: ["install", "--prefix", folder, "--no-save", prebuilt],
      stdout: "null",
      stderr: "inherit",
    }).output();
    if (!success) throw new Error(`npm could not install ${prebuilt}`);
  }
  const module = new URL(`../../${entry}`, import.meta.url).href;
  return {
    name: "npm",
    command: (...args) =>
      ["node", script("prebuilt.mjs"), module]
        .concat(args.map(String)),
  };
}

/**
 * llama.cpp built for this CPU, if `python` has it:
 * `CMAKE_ARGS=-DGGML_NATIVE=ON pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36`.
 */
export async function nativePeer(python: string): Promise<Peer | undefined> {
  const probe = await new Deno.Command(python, {
    args: ["-c", "import llama_cpp"],
    stdout: "null",
    stderr: "null",
  }).output().catch(() => undefined);
  if (!probe?.success) return undefined;
  return {
    name: "native",
    command: (...args) => [python, script("native.py"), ...args.map(String)],
  };
}
