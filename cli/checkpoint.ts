/**
 * Work that may be stopped: how far it has come lies in a file until it is done,
 * so that the same command goes on from there.
 *
 * @module
 */
import { crc32 } from "node:zlib";
// @ts-types="../src/std/base64.d.ts"
import { encodeBase64 } from "@std/encoding/base64";
import { FormatError, UsageError } from "../mod.ts";
import { sha256 as digestOf } from "../src/bytes/sha256.ts";
import { besideModel, mayKeep } from "./beside_model.ts";
import { readBytes } from "./input.ts";
import type { FlagTable } from "./option.ts";
import type { ModelFlags } from "./options.ts";
import { exists, isBeingWritten, OutputFile, statOf } from "./output_file.ts";
import { note, printable } from "./terminal.ts";

/** Least time between two states that are kept, in ms; the first is at once. */
const saveEveryMs = 1000;
/** And so many times as long as keeping one takes. */
const saveShare = 50;

/** Flags of a command whose work is kept. */
export interface StateFlags extends ModelFlags {
  readonly state?: string;
  readonly force?: boolean;
}

/** Where unfinished work is kept; `name` is the command's. */
export function stateOptions(name: string) {
  return {
    state: {
      type: "string",
      flag: "--state <file>",
      defaultText: `MODEL.${name}, where writing is permitted`,
      description:
        "where unfinished work is kept, from which the same command goes on",
    },
    force: {
      type: "boolean",
      flag: "--force",
      description: "begin anew, and replace files that are there",
    },
  } as const satisfies FlagTable;
}

/**
 * The first line of the file. Each result has a line behind it: all together
 * may be longer than a string can be. Each line begins with the CRC-32 of all
 * text up to its end.
 */
interface Heading {
  /** Says that this is such a file, and of which command */
  readonly unfinished: string;
  /** SHA-256 of everything that the results depend on */
  readonly work: string;
}

/** How unfinished work is taken up. */
export interface CheckpointOptions {
  /**
   * `force` gives up other work only, and the same goes on: of commands that
   * make a file, `--force` says that it is to be replaced.
   */
  readonly forceKeepsWork?: boolean;
}

/** The results that there are so far, in order. */
export class Checkpoint<T> implements Disposable {
  /** When the next state is kept; the first result is at once. */
  #saveAt = -Infinity;
  #saved: number;

  private constructor(
    readonly command: string,
    /** Where they are kept; nowhere where left out */
    readonly output: OutputFile | undefined,
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
    { forceKeepsWork = false }: CheckpointOptions = {},
  ): Promise<Checkpoint<T>> {
    const hash = await sha256(JSON.stringify(work));
    const path = await statePathOf(command, flags, hash);
    if (path === undefined) {
      return new Checkpoint<T>(command, undefined, hash, []);
    }
    const output = await claimState(command, path);
    try {
      const isThere = await exists(path);
      // By its first line, what is left of the part is known again.
      await output.fill(linesOf([{ unfinished: command, work: hash }]));
      const results = isThere && (forceKeepsWork || !flags.force)
        ? await readResults(path, command, hash, read).catch((error) => {
          if (!flags.force) throw error;
        })
        : undefined;
      if (isThere && !results) await Deno.remove(path);
      return new Checkpoint(command, output, hash, results ?? []);
    } catch (error) {
      output[Symbol.dispose]();
      throw error;
    }
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
            printable(this.output!.path)
          }; the same command goes on from there`,
        );
      }
      throw error;
    }
    if (this.isKept) await this.#remove();
  }

  /** Whether there is a file with some results. */
  get isKept(): boolean {
    return this.output !== undefined && this.#saved > 0;
  }

  /** Adds a result; all are kept now and then. */
  async add(result: T): Promise<void> {
    this.results.push(result);
    if (performance.now() >= this.#saveAt) await this.#keep();
  }

  /** Forgets all but the first `count` results, for what they tell of is no more. */
  async keepOnly(count: number): Promise<void> {
    if (count >= this.results.length) return;
    this.results.length = count;
    this.#saved = 0;
    if (!await this.#keep()) await this.#remove();
  }

  /** Lets other commands write the file. */
  [Symbol.dispose](): void {
    this.output?.[Symbol.dispose]();
  }

  /** Writes all results; returns whether there is a file with some. */
  async #keep(): Promise<boolean> {
    const { command, output, work, results } = this;
    if (output === undefined || results.length === 0) return false;
    const start = performance.now();
    if (results.length > this.#saved) {
      await checkOwn(command, output.path);
      const heading: Heading = { unfinished: command, work };
      await output.save(linesOf([heading, ...results]));
    }
    this.#saved = results.length;
    const end = performance.now();
    this.#saveAt = end + Math.max(saveEveryMs, saveShare * (end - start));
    return true;
  }

  /** Removes the file, unless another has taken its place. */
  async #remove(): Promise<void> {
    const { path } = this.output!;
    if (await isUnfinished(this.command, path)) await Deno.remove(path);
  }
}

/**
 * Checks that unfinished work can be kept, before long work that comes first.
 *
 * @throws {FormatError} where something else is in its place
 * @throws {CulmError} where it cannot be written
 */
export async function checkState(
  command: string,
  flags: StateFlags,
): Promise<void> {
  const path = await statePathOf(command, flags);
  if (path === undefined) return;
  if (flags.state === undefined && await isBeingWritten(path)) return;
  (await claimState(command, path))[Symbol.dispose]();
}

/** Claims the file of unfinished work. */
async function claimState(command: string, path: string): Promise<OutputFile> {
  await checkOwn(command, path);
  return await OutputFile.open(path, {
    force: true,
    goesOn: await isUnfinished(command, `${path}.part`),
  });
}

/** @throws {FormatError} where something else lies at the path: it is not replaced */
async function checkOwn(command: string, path: string): Promise<void> {
  if (!await exists(path) || await isUnfinished(command, path)) return;
  throw new FormatError(
    `Cannot keep unfinished work in ${path}: it is there already, and is no unfinished ${command}`,
  );
}

/** The most bytes that the first line of a file takes. */
const headingBytes = 1024;

/** Whether a file says that it is a command's unfinished work, be it damaged. */
export async function isUnfinished(
  command: string,
  path: string,
): Promise<boolean> {
  if (!(await statOf(path))?.isFile) return false;
  using file = await Deno.open(path);
  const buffer = new Uint8Array(headingBytes);
  try {
    // On Windows, what another command has locked cannot be read.
    const length = await file.read(buffer) ?? 0;
    const [line] = new TextDecoder().decode(buffer.subarray(0, length))
      .split("\n");
    return JSON.parse(line.slice(sumLength)).unfinished === command;
  } catch {
    return false;
  }
}

/** Characters of a checksum, and the space behind it. */
const sumLength = 9;

/** The lines of a file, each behind the checksum of all text up to its end. */
function* linesOf(values: readonly unknown[]): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  let crc = 0;
  for (const value of values) {
    const text = JSON.stringify(value, withBase64);
    crc = crc32(text, crc);
    yield encoder.encode(`${sumText(crc)} ${text}\n`);
  }
}

function sumText(crc: number): string {
  return crc.toString(16).padStart(8, "0");
}

/** Bytes of a result become base64: as JSON has them, they would be several times as long. */
function withBase64(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? encodeBase64(value) : value;
}

/** SHA-256 of a text, in hexadecimal. */
export async function sha256(text: string): Promise<string> {
  return await digestOf(new TextEncoder().encode(text));
}

/**
 * Where unfinished work is kept: in the file that the flags name, or beside the
 * model, where the sandbox permits; else nowhere. Beside the model, `work`, a
 * SHA-256, has a file of its own where another command is writing the usual one.
 */
export async function statePathOf(
  command: string,
  flags: Pick<StateFlags, "model" | "state">,
  work?: string,
): Promise<string | undefined> {
  if (flags.state !== undefined) return flags.state;
  const usual = besideModel(flags, command);
  if (usual === undefined || !await mayKeep(usual)) return undefined;
  const own = `${usual}.${work?.slice(0, 8)}`;
  const isOwn = work !== undefined && await mayKeep(own) &&
    (await exists(own) || await isBeingWritten(usual));
  return isOwn ? own : usual;
}

/** The results in a file of the work `hash`. */
async function readResults<T>(
  path: string,
  command: string,
  hash: string,
  read: (value: unknown) => T | undefined,
): Promise<T[]> {
  const damaged = () =>
    new FormatError(
      `Cannot go on: ${path} is no unfinished ${command}, or is damaged; --force begins anew`,
    );
  const results: T[] = [];
  let work: unknown, crc = 0;
  for (const line of textLines(await readBytes(path))) {
    const text = line.slice(sumLength);
    crc = crc32(text, crc);
    if (line.slice(0, sumLength) !== `${sumText(crc)} `) throw damaged();
    const value = JSON.parse(text);
    if (work === undefined) {
      ({ work } = value as Heading);
      continue;
    }
    const result = read(value);
    if (result === undefined) throw damaged();
    results.push(result);
  }
  if (work !== hash) {
    throw new UsageError(
      `Cannot go on: ${path} is of another unfinished ${command}, with another model, text or settings; --force begins anew`,
    );
  }
  return results;
}

function* textLines(bytes: Uint8Array): Generator<string> {
  const decoder = new TextDecoder();
  for (let start = 0, end; start < bytes.length; start = end + 1) {
    end = bytes.indexOf(0x0a, start);
    if (end < 0) end = bytes.length;
    yield decoder.decode(bytes.subarray(start, end));
  }
}
