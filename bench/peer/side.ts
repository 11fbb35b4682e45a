/**
 * One side of a comparison: a process that waits while the others work.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** What one run took. */
export interface Timing {
  promptMs: number;
  decodeMs: number;
}

/** What is run: ids at once, then ids one by one. */
export interface Work {
  prompt: number[];
  decode: number[];
}

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

  /** One timed run. */
  async measure(work: Work): Promise<Timing> {
    this.#process.stdin!.write(JSON.stringify(work) + "\n");
    return await this.#receive<Timing>();
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
