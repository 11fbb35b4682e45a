/** Files that clients have sent, and those that their batches have made: kept in memory. */
import { RequestError } from "../errors.ts";
import { newId } from "../new_id.ts";
import { now } from "../now.ts";

/** A file, as OpenAI's clients see it. */
export interface FileCard {
  readonly id: string;
  readonly object: "file";
  readonly bytes: number;
  /** Seconds since 1970 */
  readonly created_at: number;
  readonly filename: string;
  readonly purpose: string;
  readonly status: "processed";
}

/** A file with what is in it; nobody but its owner sees it. */
export interface StoredFile {
  readonly card: FileCard;
  readonly owner: string;
  readonly content: Uint8Array<ArrayBuffer>;
}

/** Most files of all clients together. */
const mostFiles = 1024;

/** The files of a server. */
export class FileStore {
  readonly #files = new Map<string, StoredFile>();
  #bytes = 0;

  /** All of them have at most `mostBytes`. */
  constructor(readonly mostBytes: number) {}

  /** @throws {RequestError} 413, where there is no room for it */
  add(
    owner: string,
    filename: string,
    purpose: string,
    content: Uint8Array<ArrayBuffer>,
  ): FileCard {
    const bytes = content.length;
    if (this.#bytes + bytes > this.mostBytes) {
      throw new RequestError(
        413,
        `Cannot keep ${bytes} bytes: ${this.#bytes} are kept, the limit is ${this.mostBytes}; deleting files makes room`,
      );
    }
    if (this.#files.size >= mostFiles) {
      throw new RequestError(
        413,
        `Cannot keep another file: there are ${this.#files.size}, the limit is ${mostFiles}`,
      );
    }
    const card: FileCard = {
      id: newId("file-"),
      object: "file",
      bytes,
      created_at: now(),
      filename,
      purpose,
      status: "processed",
    };
    this.#files.set(card.id, { card, owner, content });
    this.#bytes += bytes;
    return card;
  }

  /** Those of an owner, the newest first. */
  list(owner: string): FileCard[] {
    return [...this.#files.values()].filter((file) => file.owner === owner)
      .map(({ card }) => card).reverse();
  }

  /** @throws {RequestError} 404, where the owner has no such file */
  get(owner: string, id: string): StoredFile {
    const file = this.#files.get(id);
    if (file?.owner === owner) return file;
    throw new RequestError(404, `There is no file ${JSON.stringify(id)}`);
  }

  /** @throws {RequestError} 404, where the owner has no such file */
  delete(owner: string, id: string): void {
    this.#bytes -= this.get(owner, id).card.bytes;
    this.#files.delete(id);
  }
}
