/**
 * Models in the private file system of a site (OPFS). A model is a record, by
 * its name; its files lie beside it by their hash, or by where they are from,
 * each with an empty one that says so when it is whole: Safari cannot rename.
 */
import type { PartFile } from "../bytes/part_file.ts";
import { sha256 } from "../bytes/sha256.ts";
import { LimitError, UsageError } from "../errors.ts";
import type { HubFile } from "../hub/repository.ts";

/** A file of a model, and where it is from. */
export interface StoredFile extends Omit<HubFile, "hash"> {
  readonly url: string;
  readonly hash?: string;
  /** What tells it from other versions, where its hash is not known. */
  readonly version?: string;
}

/** A model, whether its files are there or not. */
export interface StoredModel {
  /** As it was asked for. */
  readonly name: string;
  /** The path of the file that stands for all; empty for the folder. */
  readonly opens: string;
  readonly files: readonly StoredFile[];
  /** Of the hub's */
  readonly commit?: string;
}

const folderName = "culm-models";
const recordEnding = ".json", wholeEnding = ".whole";

/** What browsers have, and the types of pages do not. */
interface FileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<SyncHandle>;
}

interface SyncHandle {
  getSize(): number;
  truncate(size: number): void;
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  flush(): void;
  close(): void;
}

/** What a file is called here. */
export async function keyOf({ hash, url }: StoredFile): Promise<string> {
  return hash ?? await digest(url);
}

async function digest(text: string): Promise<string> {
  return await sha256(new TextEncoder().encode(text));
}

/** The folder, as pages read it and workers write it. */
export class StoreFolder {
  private constructor(readonly handle: FileSystemDirectoryHandle) {}

  /** @throws {UsageError} where there is none */
  static async open(): Promise<StoreFolder> {
    try {
      const root = await navigator.storage.getDirectory();
      const options = { create: true };
      return new StoreFolder(
        await root.getDirectoryHandle(folderName, options),
      );
    } catch (error) {
      throw new UsageError(
        `Cannot keep models here: ${
          (error as Error).message
        } (pages need https or localhost, and no private window)`,
        { cause: error },
      );
    }
  }

  /** All models, by name. */
  async models(): Promise<StoredModel[]> {
    const models: StoredModel[] = [];
    for await (const name of this.handle.keys()) {
      if (!name.endsWith(recordEnding)) continue;
      const model = await this.#read(name);
      if (model) models.push(model);
    }
    return models.sort((a, b) => a.name < b.name ? -1 : 1);
  }

  async model(name: string): Promise<StoredModel | undefined> {
    return await this.#read(await digest(name) + recordEnding);
  }

  /** A file, where it is whole. */
  async whole(file: StoredFile): Promise<File | undefined> {
    const key = await keyOf(file);
    if (!await this.#file(key + wholeEnding)) return undefined;
    const found = await this.#file(key);
    return found?.size === file.size ? found : undefined;
  }

  /** Bytes of a file that are there. */
  async loaded(file: StoredFile): Promise<number> {
    const found = await this.#file(await keyOf(file));
    return Math.min(file.size, found?.size ?? 0);
  }

  /** Removes a model, and its files as far as they are no other's; where these are in use, it stays. */
  async remove({ name, files }: StoredModel): Promise<void> {
    const others = (await this.models()).filter((each) => each.name !== name);
    await this.#removeUnused(files, others);
    await this.#remove(await digest(name) + recordEnding);
  }

  /** Removes those files that are no model's. */
  async removeUnused(files: readonly StoredFile[]): Promise<void> {
    await this.#removeUnused(files, await this.models());
  }

  async #removeUnused(
    files: readonly StoredFile[],
    users: readonly StoredModel[],
  ): Promise<void> {
    const used = new Set(
      await Promise.all(users.flatMap(({ files }) => files).map(keyOf)),
    );
    for (const file of files) {
      const key = await keyOf(file);
      if (used.has(key)) continue;
      await this.#remove(key + wholeEnding);
      await this.#remove(key);
    }
  }

  /** Writes a model's record, where it says something else; for workers. */
  async put(model: StoredModel): Promise<void> {
    const record = await digest(model.name) + recordEnding;
    const text = JSON.stringify(model);
    const bytes = new TextEncoder().encode(text);
    await navigator.locks.request(`culm ${record}`, async () => {
      if (await (await this.#file(record))?.text() === text) return;
      const file = await this.#open(record, bytes.length);
      try {
        await file.truncate(0);
        await file.write(bytes, 0);
        await file.flush();
      } finally {
        await file.close();
      }
    });
  }

  /** Opens what there is of a file, which does not count as whole then; for workers. */
  async part(file: StoredFile): Promise<PartFile> {
    const key = await keyOf(file);
    await this.#remove(key + wholeEnding);
    return await this.#open(key, file.size);
  }

  /** Has a file, which is closed, count as whole. */
  async keep(file: StoredFile): Promise<void> {
    const name = await keyOf(file) + wholeEnding;
    await this.handle.getFileHandle(name, { create: true });
  }

  async #open(name: string, size: number): Promise<PartFile> {
    const file = await this.handle.getFileHandle(name, { create: true });
    const handle = await (file as FileHandle).createSyncAccessHandle();
    return new StorePart(handle, size);
  }

  async #file(name: string): Promise<File | undefined> {
    try {
      return await (await this.handle.getFileHandle(name)).getFile();
    } catch {
      return undefined;
    }
  }

  async #read(record: string): Promise<StoredModel | undefined> {
    try {
      return JSON.parse(await (await this.#file(record))!.text());
    } catch {
      return undefined; // Removed meanwhile, or never written.
    }
  }

  async #remove(name: string): Promise<void> {
    await this.handle.removeEntry(name).catch((error: Error) => {
      if (error.name !== "NotFoundError") throw error;
    });
  }
}

/** A file that is written; none other may open it until it is closed. */
class StorePart implements PartFile {
  constructor(
    readonly handle: SyncHandle,
    /** What it is to have. */
    readonly bytes: number,
  ) {}

  size(): Promise<number> {
    return Promise.resolve(this.handle.getSize());
  }

  // deno-lint-ignore require-await -- an error must be a rejection
  async truncate(size: number): Promise<void> {
    this.handle.truncate(size);
  }

  // deno-lint-ignore require-await -- an error must be a rejection
  async read(into: Uint8Array, position: number): Promise<number> {
    return this.handle.read(into, { at: position });
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const written = this.#write(bytes.subarray(done), position + done);
      if (written === 0) throw await noRoom(this.bytes - position - done);
      done += written;
    }
  }

  /** Bytes that were written; 0 where there is no room. */
  #write(bytes: Uint8Array, at: number): number {
    try {
      return this.handle.write(bytes, { at });
    } catch (error) {
      if ((error as Error).name === "QuotaExceededError") return 0;
      throw error;
    }
  }

  // deno-lint-ignore require-await -- an error must be a rejection
  async flush(): Promise<void> {
    this.handle.flush();
  }

  // deno-lint-ignore require-await -- an error must be a rejection
  async close(): Promise<void> {
    this.handle.close();
  }
}

/**
 * Checks that the browser lets the site have so many bytes more, as far as it
 * tells.
 *
 * @throws {LimitError} where it does not
 */
export async function checkRoom(needed: number): Promise<void> {
  const { quota = Infinity, usage = 0 } = await navigator.storage.estimate();
  if (needed <= quota - usage) return;
  throw new LimitError(
    `Cannot keep the model: ${needed} bytes are to be fetched, the browser has room for ${
      Math.max(0, quota - usage)
    }`,
  );
}

/** Why so many bytes were refused: Chromium's quota says more than there is. */
async function noRoom(needed: number): Promise<LimitError> {
  const { usage = 0 } = await navigator.storage.estimate();
  return new LimitError(
    `Cannot keep the model: ${needed} bytes are to be fetched, the browser has no room for more than the ${usage} that the site keeps`,
  );
}
