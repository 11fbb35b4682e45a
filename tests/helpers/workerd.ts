/** Cloudflare's runtime, where it is installed. */
import assert from "node:assert/strict";

const command = new URL(
  "../../.cache/workerd/node_modules/@cloudflare/workerd-linux-64/bin/workerd",
  import.meta.url,
).pathname;

export const hasWorkerd = await Deno.stat(command)
  .then(() => true, () => false);

/** A worker that answers at an address of this machine. */
interface ServedWorker extends AsyncDisposable {
  readonly url: string;
  /** What its process has in memory, in bytes. */
  readonly memory: () => Promise<number>;
}

/** Where the folder has a worker with its WebAssembly, and its assets beside that. */
const config = `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [
        (name = "worker", esModule = embed "worker.js"),
        (name = "relaxed.wasm", wasm = embed "relaxed.wasm"),
        (name = "constrain.wasm", wasm = embed "constrain.wasm"),
      ],
      compatibilityDate = "2026-11-01",
      durableObjectNamespaces = [
        (className = "Engine", uniqueKey = "engine"),
      ],
      durableObjectStorage = (inMemory = void),
      bindings = [
        (name = "ASSETS", service = "assets"),
        (name = "ENGINE", durableObjectNamespace = "Engine"),
      ],
    )),
    (name = "assets", disk = "."),
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:0", http = (), service = "main"),
  ],
);
`;

/** Starts it on a folder with `worker.js`, `relaxed.wasm`, `constrain.wasm`, and assets. */
export async function serveWorker(folder: string): Promise<ServedWorker> {
  await Deno.writeTextFile(`${folder}/config.capnp`, config);
  const child = new Deno.Command(command, {
    args: ["serve", "--control-fd=1", "config.capnp"],
    cwd: folder,
    stdout: "piped",
  }).spawn();
  const said = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", port: string | undefined;
  while (port === undefined) {
    const { value, done } = await said.read();
    assert.ok(!done, text);
    text += value;
    port = text.match(/"port":(\d+)/)?.[1];
  }
  return {
    url: `http://127.0.0.1:${port}`,
    async memory() {
      // Deno itself reads there only where it may do all.
      const path = `/proc/${child.pid}/status`;
      const { stdout } = await new Deno.Command("cat", { args: [path] })
        .output();
      const status = new TextDecoder().decode(stdout);
      return 1024 * Number(status.match(/^VmRSS:\s+(\d+)/m)![1]);
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL"); // else it waits for its clients
      await said.cancel();
      await child.status;
    },
  };
}
