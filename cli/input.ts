/**
 * Texts that commands read: prompts from flags, files and standard input.
 *
 * @module
 */
// @ts-types="../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
// @ts-types="../src/std/text_line_stream.d.ts"
import { TextLineStream } from "@std/streams/text-line-stream";
import { CulmError, UsageError } from "../mod.ts";
import { formatSystemError } from "./format.ts";
import { BadFlags } from "./option.ts";
import type { PromptFlags } from "./options.ts";
import { unescape } from "./values.ts";

/**
 * The text that `-p` or `-f` gives; undefined without either.
 *
 * @throws {UsageError} where a file cannot be read, or is not UTF-8
 */
export async function readPrompt(
  flags: PromptFlags,
): Promise<string | undefined> {
  if (flags.prompt !== undefined && flags.file !== undefined) {
    throw new BadFlags("Cannot take the text from both -p and -f");
  }
  if (flags.prompt !== undefined) {
    return flags.escape ? unescape(flags.prompt) : flags.prompt;
  }
  if (flags.file === undefined) return undefined;
  // As llama.cpp does: editors end a file with a line feed that is not part of the text.
  return (await readText(flags.file)).replace(/\r?\n$/, "");
}

/**
 * A file's text; `-` is standard input.
 *
 * @throws {UsageError} where it cannot be read, or is not UTF-8
 */
export async function readText(path: string): Promise<string> {
  const bytes = await readBytes(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CulmError(`Cannot read ${nameOf(path)}: it is not UTF-8 text`);
  }
}

/**
 * A file's bytes; `-` is standard input.
 *
 * @throws {UsageError} where it cannot be read
 */
export async function readBytes(
  path: string,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return path === "-" ? await readStandardInput() : await Deno.readFile(path);
  } catch (error) {
    throw new UsageError(`Cannot read ${nameOf(path)}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/**
 * The texts of `-f`, or of standard input. `purpose` is what they are for,
 * where there is none: `profile`.
 */
export async function readTexts(
  files: readonly string[] | undefined,
  purpose: string,
): Promise<string[]> {
  if (!files && Deno.stdin.isTerminal()) {
    throw new BadFlags(`Cannot ${purpose} without a text: give -f FILE`);
  }
  const texts: string[] = [];
  for (const path of files ?? ["-"]) texts.push(await readText(path));
  return texts;
}

/** What a text is called, for people. */
export function textName(path = "-"): string {
  return basename(nameOf(path));
}

function nameOf(path: string): string {
  return path === "-" ? "standard input" : path;
}

async function readStandardInput(): Promise<Uint8Array<ArrayBuffer>> {
  return await new Response(Deno.stdin.readable).bytes();
}

/** The system's word for what went wrong, without the call and the number. */
function reasonOf(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  if (error instanceof Deno.errors.IsADirectory) return "it is a directory";
  if (error instanceof Deno.errors.PermissionDenied) {
    return "the system does not permit reading it";
  }
  return formatSystemError(error as Error);
}

/**
 * The lines of standard input, one at a time. Ends with the input, or when
 * `signal` is aborted while a line is waited for.
 */
export async function* readLines(
  signal: () => AbortSignal,
): AsyncGenerator<string> {
  const reader = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream()).getReader();
  try {
    for (;;) {
      const line = await untilAborted(reader.read(), signal());
      if (!line || line.done) return;
      if (line.value !== "") yield line.value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** What the promise gives; undefined where the signal comes first. */
function untilAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
    promise.then(resolve, reject);
  });
}
