/**
 * Work that may be stopped: how far it has come lies in a file until it is done,
 * so that the same command goes on from there.
 *
 * @module
 */
import type { Option } from "commander";
import { type CulmError, FormatError, UsageError } from "../mod.ts";
import { besideModel, mayKeep } from "./beside_model.ts";
import { readBytes } from "./input.ts";
import { option } from "./option.ts";
import type { ModelFlags } from "./options.ts";
import { exists, writeFile } from "./output_file.ts";
import { note, printable } from "./terminal.ts";

/** Time between two states that are kept, in ms. */
export const saveEveryMs = 10_000;

/** Flags of a command whose work is kept. */
export interface StateFlags extends ModelFlags {
  readonly state?: string;
  readonly force?: boolean;
}

/** Options that give {@linkcode StateFlags}, but for the model; `name` is the command's. */
export function stateOptions(name: string): Option[] {
  return [
    option(
      "--state <file>",
      `where unfinished work is kept, from which the same command goes on (default: MODEL.${name}, where writing is permitted)`,
    ),
    option("--force", "begin anew, and replace files that are there"),
  ];
}

/**
 * The first line of the file. Each result has a line behind it: all together
 * may be longer than a string can be.
 */
interface Heading {
  /** Says that this is such a file, and of which command */
  readonly unfinished: string;
  /** SHA-256 of everything that the results depend on */
  readonly work: string;
}

/** The results that there are so far, in order. */
export class Checkpoint<T> {
  #savedAt = performance.now();
  #saved: number;

  private constructor(
    readonly command: string,
    /** Where they are kept; nowhere where left out */
    readonly path: string | undefined,
    readonly work: string,
    readonly results: T[],
  ) {
    this.#saved = results.length;
  }

  /**
   * Takes up what the file says of the same `work`. `read` gives a result, or
   * undefined for what is none: of JSON, in which base64 stands for bytes.
   *
   * @throws {UsageError} where the file is of other work
   * @throws {FormatError} where it is no such file
   */
  static async open<T>(
    command: string,
    flags: StateFlags,
    work: unknown,
    read: (value: unknown) => T | undefined,
  ): Promise<Checkpoint<T>> {
    const hash = await sha256(JSON.stringify(work));
    const path = await statePathOf(command, flags);
    const isThere = path !== undefined && await exists(path);
    if (isThere && flags.force) await Deno.remove(path);
    if (!isThere || flags.force) {
      return new Checkpoint<T>(command, path, hash, []);
    }
    const [heading, ...values] = parse(path, command, await readBytes(path));
    if (heading.work !== hash) {
      throw new UsageError(
        `Cannot go on: ${path} is of another unfinished ${command}, with another model, text or settings; --force begins anew`,
      );
    }
    const results = values.map((value) => {
      const result = read(value);
      if (result === undefined) throw damaged(path, command);
      return result;
    });
    return new Checkpoint(command, path, hash, results);
  }

  /**
   * As {@linkcode open}, for work that makes a file: `force`, without which none
   * is replaced, gives up other work only, so that the same command goes on.
   */
  static async openForFile<T>(
    command: string,
    flags: StateFlags,
    work: unknown,
    read: (value: unknown) => T | undefined,
  ): Promise<Checkpoint<T>> {
    const open = (force?: boolean) =>
      Checkpoint.open(command, { ...flags, force }, work, read);
    return await open().catch((error) => {
      if (!flags.force) throw error;
      return open(true);
    });
  }

  /**
   * Does what is left of `total` results, called `what`. Where it is stopped,
   * all that there are by then are kept; else the file goes away.
   */
  async goOn(
    total: number,
    what: string,
    run: () => Promise<void>,
  ): Promise<void> {
    const before = this.results.length;
    if (before > 0) note(`going on after ${before} of ${total} ${what}`);
    try {
      await run();
    } catch (error) {
      if (await this.#keep()) {
        note(
          `kept ${this.results.length} of ${total} ${what} in ${
            printable(this.path!)
          }; the same command goes on from there`,
        );
      }
      throw error;
    }
    if (this.isKept) await Deno.remove(this.path!);
  }

  /** Whether there is a file with some results. */
  get isKept(): boolean {
    return this.path !== undefined && this.#saved > 0;
  }

  /** Adds a result; all are kept now and then. */
  async add(result: T): Promise<void> {
    this.results.push(result);
    if (performance.now() - this.#savedAt < saveEveryMs) return;
    await this.#keep();
  }

  /** Forgets all but the first `count` results, for what they tell of is no more. */
  async keepOnly(count: number): Promise<void> {
    if (count >= this.results.length) return;
    this.results.length = count;
    this.#saved = 0;
    if (!await this.#keep()) await Deno.remove(this.path!);
  }

  /** Writes all results; returns whether there is a file with some. */
  async #keep(): Promise<boolean> {
    const { path, results } = this;
    if (path === undefined || results.length === 0) return false;
    if (results.length > this.#saved) {
      await writeFile(path, this.#lines(), { force: true });
    }
    this.#saved = results.length;
    this.#savedAt = performance.now();
    return true;
  }

  *#lines(): Generator<Uint8Array> {
    const { command, work, results } = this;
    const heading: Heading = { unfinished: command, work };
    const encoder = new TextEncoder();
    for (const value of [heading, ...results]) {
      yield encoder.encode(JSON.stringify(value, withBase64) + "\n");
    }
  }
}

/** Bytes of a result become base64: as JSON has them, they would be several times as long. */
function withBase64(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? value.toBase64() : value;
}

/** SHA-256 of a text, in hexadecimal. */
export async function sha256(text: string): Promise<string> {
  const bytes = new TextEncoder().encode(text);
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return new Uint8Array(digest).toHex();
}

/**
 * Where unfinished work is kept: in the file that the flags name, or beside the
 * model, where the sandbox permits; else nowhere.
 */
export async function statePathOf(
  command: string,
  flags: Pick<StateFlags, "model" | "state">,
): Promise<string | undefined> {
  if (flags.state !== undefined) return flags.state;
  const path = besideModel(flags, command);
  return path !== undefined && await mayKeep(path) ? path : undefined;
}

/** What the lines of a file say. */
function parse(
  path: string,
  command: string,
  bytes: Uint8Array,
): [heading: Heading, ...results: unknown[]] {
  let values: unknown[];
  try {
    values = Array.from(linesOf(bytes), (line) => JSON.parse(line));
  } catch {
    throw damaged(path, command);
  }
  const [heading, ...results] = values as [Heading?, ...unknown[]];
  if (heading?.unfinished !== command || typeof heading.work !== "string") {
    throw damaged(path, command);
  }
  return [heading, ...results];
}

function* linesOf(bytes: Uint8Array): Generator<string> {
  const decoder = new TextDecoder();
  for (let start = 0, end; start < bytes.length; start = end + 1) {
    end = bytes.indexOf(0x0a, start);
    if (end < 0) end = bytes.length;
    yield decoder.decode(bytes.subarray(start, end));
  }
}

function damaged(path: string, command: string): CulmError {
  return new FormatError(
    `Cannot go on: ${path} is no unfinished ${command}; --force begins anew`,
  );
}
