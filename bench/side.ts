/**
 * One side of a comparison: a process that waits while the others work.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** A long-lived process that answers one line of JSON for each it is given. */
export class Side {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  /** What runs there, for people. */
  name = "";

  private constructor([command, ...args]: string[]) {
    this.#process = spawn(command, args, {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = createInterface({ input: this.#process.stdout! })
      [Symbol.asyncIterator]();
  }

  /** Starts a side; resolves when it has loaded its model. */
  static async start(command: string[]): Promise<Side> {
    const side = new Side(command);
    side.name = (await side.#receive<{ name: string }>()).name;
    return side;
  }

  /** What it answers to a request. */
  async ask<T>(request: unknown): Promise<T> {
    this.#process.stdin!.write(JSON.stringify(request) + "\n");
    return await this.#receive<T>();
  }

  /** Lets the process end. */
  async close(): Promise<void> {
    this.#process.stdin!.end();
    await once(this.#process, "exit");
  }

  async #receive<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("A side of the benchmark ended early");
    return JSON.parse(value);
  }
}
