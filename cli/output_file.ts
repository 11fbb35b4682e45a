/**
 * Files that commands write: whole, or not at all.
 *
 * @module
 */
import { CulmError } from "../mod.ts";

/** Whether there is a file, or anything else, at a path. */
export async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, (error) => {
    if (error instanceof Deno.errors.NotFound) return false;
    throw cannotWrite(path, error);
  });
}

/**
 * Writes a file under the name `PATH.part`, and gives it its own name when it
 * is whole. What stands at `path` is replaced: ask first.
 *
 * @throws {CulmError} where it cannot be written; nothing is left of it then
 */
export async function writeWhole(
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<void> {
  const part = `${path}.part`;
  try {
    using file = await Deno.open(part, {
      write: true,
      create: true,
      truncate: true,
    });
    const chunks = content instanceof Uint8Array ? [content] : content;
    for await (const chunk of chunks) await writeAll(file, chunk);
  } catch (error) {
    await Deno.remove(part).catch(() => {}); // It may not have been made.
    throw cannotWrite(path, error);
  }
  await Deno.rename(part, path).catch((error) => {
    throw cannotWrite(path, error);
  });
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) {
    rest = rest.subarray(await file.write(rest));
  }
}

/** The system's errors, which carry a code, in one line; others as they are. */
function cannotWrite(path: string, error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message: string };
  if (typeof code !== "string") return error;
  const reason = message.replace(/ \(os error \d+\).*$/, "");
  return new CulmError(`Cannot write ${path}: ${reason}`, { cause: error });
}
