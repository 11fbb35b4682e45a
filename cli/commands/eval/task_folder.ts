/**
 * The folder in which the files of tasks lie.
 *
 * @module
 */
import type { TaskFile } from "../../../lab.ts";
import { CulmError, UsageError } from "../../../mod.ts";
import { sha256 } from "../../checkpoint.ts";
import { readBytes, readText } from "../../input.ts";
import { exists } from "../../output_file.ts";

/** Reads a task's files, and keeps which they were. */
export class TaskFolder {
  readonly paths: string[] = [];
  readonly #hashes = new Map<string, string>();

  constructor(readonly folder: string, readonly task: string) {}

  /** The first of the files that is there; `.xz` is unpacked. */
  readonly files = async (...names: readonly string[]): Promise<TaskFile> => {
    for (const name of names) {
      const path = `${this.folder}/${name}`;
      if (!await exists(path)) continue;
      const text = await (path.endsWith(".xz") ? unpack(path) : readText(path));
      this.paths.push(path);
      this.#hashes.set(name, await sha256(text));
      return { path, text };
    }
    throw new UsageError(
      `Cannot evaluate ${this.task}: there is no ${
        names.join(" or ")
      } in ${this.folder}`,
    );
  };

  /** Of all that was read. */
  hash(): Promise<string> {
    const names = [...this.#hashes.keys()].sort();
    return sha256(names.map((name) => this.#hashes.get(name)).join());
  }
}

/** What is used of xz-decompress, whose exports Deno finds in `default` alone. */
interface Xz {
  readonly default: {
    readonly XzReadableStream: new (
      packed: ReadableStream<Uint8Array>,
    ) => ReadableStream<Uint8Array<ArrayBuffer>>;
  };
}

async function unpack(path: string): Promise<string> {
  const packed = new Blob([await readBytes(path)]).stream();
  const { default: xz }: Xz = await import("xz-decompress") as unknown as Xz;
  try {
    return await new Response(new xz.XzReadableStream(packed)).text();
  } catch (cause) {
    throw new CulmError(`Cannot read ${path}: it is no whole .xz file`, {
      cause,
    });
  }
}
