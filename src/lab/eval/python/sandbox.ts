import { UsageError } from "../../../errors.ts";
import { type Program, startProgram } from "../../../platform/program.ts";
import type { ProgramRunner } from "../evaluate.ts";
import { answers, pyodide, pythonProcess } from "./python_process.ts";

/** What a program may use up. */
export interface SandboxLimits {
  /** Milliseconds. Default 10 000. */
  readonly timeLimit?: number;
  /** Bytes of memory. Default 256 MiB. */
  readonly memoryLimit?: number;
}

/**
 * Runs Python programs that nobody has read: by pyodide (CPython in WebAssembly)
 * in a Deno process without permissions, in which Python is cut off from
 * JavaScript, files and sockets. One at a time. Starting it takes the permission
 * to run Deno.
 *
 * @example
 * ```ts ignore
 * import { PythonSandbox } from "@culm/culm/lab";
 *
 * await using python = await PythonSandbox.start();
 * console.log(await python.passes("assert 1 + 1 == 2")); // true
 * console.log(await python.passes("while True: pass")); // false
 * ```
 */
export class PythonSandbox implements ProgramRunner, AsyncDisposable {
  readonly #timeLimit: number;
  readonly #memoryLimit: number;
  /** The process that is up, if one is */
  #python?: Program;
  /** Ends with the last program that was given */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    { timeLimit = 10_000, memoryLimit = 256 * 2 ** 20 }: SandboxLimits,
  ) {
    this.#timeLimit = timeLimit;
    this.#memoryLimit = memoryLimit;
  }

  /**
   * Loads Python, and starts it.
   *
   * @throws {UsageError} where Deno may not be run, or there is no pyodide
   */
  static async start(limits: SandboxLimits = {}): Promise<PythonSandbox> {
    const sandbox = new PythonSandbox(limits);
    sandbox.#python = await sandbox.#startPython();
    return sandbox;
  }

  /**
   * Whether a program runs to its end within the limits, and without an
   * exception. `signal` ends it, whatever it does.
   *
   * @throws the signal's reason
   */
  async passes(program: string, signal?: AbortSignal): Promise<boolean> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    try {
      await before;
      signal?.throwIfAborted();
      const passed = await this.#run(program, signal);
      signal?.throwIfAborted();
      return passed;
    } finally {
      resolve();
    }
  }

  /** Ends Python, behind the programs that were given. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last;
    await this.#python?.end();
    this.#python = undefined;
  }

  async #run(program: string, signal?: AbortSignal): Promise<boolean> {
    // Python would read up to there, and leave the tests out.
    if (program.includes("\0")) return false;
    this.#python ??= await this.#startPython();
    const python = this.#python;
    const end = () => python.end();
    const timer = setTimeout(end, this.#timeLimit);
    signal?.addEventListener("abort", end);
    await python.write(framed(encoder.encode(program)));
    const answer = await python.readByte();
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
    if (answer !== answers.passed && answer !== answers.failed) {
      this.#python = undefined;
      await python.end();
    }
    return answer === answers.passed;
  }

  async #startPython(): Promise<Program> {
    const python = startProgram(pythonProcess(this.#memoryLimit));
    if (await python.readByte() === answers.passed) return python;
    await python.end();
    throw new UsageError(
      `Cannot run Python programs: ${pyodide} is out of reach, or did not start`,
    );
  }
}

const encoder = new TextEncoder();

/** With the length in 4 bytes before. */
function framed(bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(4 + bytes.length);
  new DataView(frame.buffer).setUint32(0, bytes.length, true);
  frame.set(bytes, 4);
  return frame;
}
