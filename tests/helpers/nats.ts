/** NATS's server, where it is installed. */
import assert from "node:assert/strict";
import { freePort } from "../cli/served.ts";

const command = new URL("../../.cache/nats/bin/nats-server", import.meta.url)
  .pathname;

export const hasNats = await Deno.stat(command).then(() => true, () => false);

/** What deploy/nats.conf says, but for files and ports of a machine; each user's password is its name. */
export async function deployedConfig(): Promise<string> {
  const config = new URL("../../deploy/nats.conf", import.meta.url);
  const text = await Deno.readTextFile(config);
  return text.replace(/^(listen|http_port|jetstream|tls).*$/gm, "")
    .replace(/\$([A-Z]+)_PASSWORD/g, (_, name) => name.toLowerCase());
}

/** A server of this machine, with a folder of its own. */
export class NatsServer implements AsyncDisposable {
  #child?: Deno.ChildProcess;
  #closed?: Promise<unknown>;

  private constructor(
    readonly port: number,
    readonly folder: string,
    /** What its configuration says beside where it listens and stores. */
    readonly config: string,
  ) {}

  static async start(config = ""): Promise<NatsServer> {
    const server = new NatsServer(freePort(), await Deno.makeTempDir(), config);
    await server.start();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /**
   * Starts it, also where it was stopped, and waits until it listens. `limits`
   * are those of JetStream.
   */
  async start(limits = ""): Promise<void> {
    const { port, folder, config } = this;
    await Deno.writeTextFile(
      `${folder}/nats.conf`,
      `listen: "127.0.0.1:${port}"
      jetstream { store_dir: "${folder}/store", ${limits} }
      ${config}`,
    );
    const child = new Deno.Command(command, {
      args: ["-c", `${folder}/nats.conf`],
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#child = child;
    let said = "";
    const listening = Promise.withResolvers<void>();
    this.#closed = child.stderr.pipeThrough(new TextDecoderStream()).pipeTo(
      new WritableStream({
        write(text) {
          said += text;
          if (said.includes("Server is ready")) listening.resolve();
        },
        close: () => listening.reject(new Error(said)),
      }),
    );
    await listening.promise;
  }

  /** Ends it: at once, as a crash does, or in its own time. */
  async stop(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    assert.ok(this.#child);
    this.#child.kill(signal);
    await this.#child.status;
    await this.#closed;
    this.#child = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child) await this.stop();
    await Deno.remove(this.folder, { recursive: true });
  }
}
