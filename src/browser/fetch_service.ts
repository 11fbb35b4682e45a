/** Fetches a file into the store: in a worker, for only there files are written in place. */
import {
  bufferFor,
  type ByteSource,
  checkRange,
} from "../bytes/byte_source.ts";
import { RemoteFile } from "../bytes/exchange.ts";
import { fromBlob } from "../bytes/memory.ts";
import type { PartFile } from "../bytes/part_file.ts";
import { FormatError } from "../errors.ts";
import { download } from "../hub/download.ts";
import type { HubName } from "../hub/name.ts";
import { remoteFile } from "../hub/repository.ts";
import type { HubSettings } from "../hub/settings.ts";
import type { Emit } from "../platform/rpc_server.ts";
import {
  keyOf,
  type StoredFile,
  type StoredModel,
  StoreFolder,
} from "./store_folder.ts";

/** Which file of a model is fetched, and how. */
export interface FetchRequest {
  readonly model: StoredModel;
  readonly file: StoredFile;
  /** Where it is the hub's. */
  readonly hub?: { readonly name: HubName; readonly settings: HubSettings };
  /** Whether what is there is of another version, or may be. */
  readonly isStale: boolean;
}

/** What a worker tells while it fetches. */
export type FetchEvent =
  | { readonly loaded: number }
  | { readonly warning: string };

/** ms between two events that tell how far it has come. */
const eventMs = 50;

/** Fetches one file, and reads what is there of it meanwhile. */
export class FetchService {
  #part?: PartFile;
  #loaded = 0;
  #toldAt = 0;
  readonly #whole = Promise.withResolvers<ByteSource>();
  /** Those who wait for bytes, with where these end */
  #waiting: { readonly end: number; readonly go: () => void }[] = [];

  constructor(readonly emit: Emit<FetchEvent>) {
    this.#whole.promise.catch(() => {}); // `fetch` tells.
  }

  /**
   * Fetches it, where it is not there.
   *
   * @throws {FormatError} where it is another than it should be
   * @throws {LimitError} where the browser has no room for it
   * @throws {CulmError} where the server cannot be reached
   */
  async fetch(request: FetchRequest): Promise<void> {
    const { model, file } = request;
    try {
      const folder = await StoreFolder.open();
      await this.#locked(await keyOf(file), file.path, async () => {
        const before = await folder.model(model.name);
        await folder.put(model);
        if (!await folder.whole(file)) await this.#download(folder, request);
        // What an older revision of the model had.
        await folder.removeUnused(before?.files ?? []);
      });
      const whole = await folder.whole(file);
      if (!whole) {
        throw new FormatError(`Cannot read ${file.url}: it was removed`);
      }
      this.#whole.resolve(fromBlob(whole, file.url));
      this.#progress(file.size, file.size); // Another page may have fetched it.
    } catch (error) {
      this.#whole.reject(error);
      throw error;
    }
  }

  /** Reads bytes as soon as they are there, into the spare where it is large enough. */
  async read(
    file: StoredFile,
    offset: number,
    length: number,
    spare?: ArrayBuffer,
  ): Promise<Uint8Array<ArrayBuffer>> {
    checkRange({ name: file.url, size: file.size }, offset, length);
    const end = offset + length;
    if (this.#loaded < end) {
      const { promise: arrived, resolve: go } = Promise.withResolvers<void>();
      this.#waiting.push({ end, go });
      await Promise.race([arrived, this.#whole.promise]);
    }
    const bytes = bufferFor(length, spare);
    const filled = await this.#part?.read(bytes, offset);
    if (filled === length) return bytes;
    return await (await this.#whole.promise).read(
      offset,
      length,
      bytes.buffer,
    );
  }

  async #download(
    folder: StoreFolder,
    { model, file, hub, isStale }: FetchRequest,
  ): Promise<void> {
    const remote = hub
      ? remoteFile(hub.name, model.commit!, file.path, hub.settings, {})
      : new RemoteFile(file.url);
    const part = await folder.part(file);
    try {
      if (isStale) await part.truncate(0);
      this.#part = part;
      await download(remote, file, part, {
        version: file.hash === undefined ? file.version : undefined,
        onProgress: (loaded) => this.#progress(loaded, file.size),
        onWarning: (warning) => this.emit({ warning }),
      });
    } finally {
      this.#part = undefined;
      await part.close();
    }
    await folder.keep(file);
  }

  #progress(loaded: number, size: number): void {
    this.#loaded = loaded;
    const waiting = this.#waiting;
    this.#waiting = waiting.filter(({ end }) => end > loaded);
    for (const { end, go } of waiting) if (end <= loaded) go();
    const now = performance.now();
    if (now - this.#toldAt < eventMs && loaded < size) return;
    this.#toldAt = now;
    this.emit({ loaded });
  }

  /** Does something while no other page of the site does it with the same file. */
  async #locked(
    key: string,
    path: string,
    work: () => Promise<void>,
  ): Promise<void> {
    const name = `culm ${key}`;
    const isDone = await navigator.locks.request(
      name,
      { ifAvailable: true },
      async (lock) => {
        if (lock) await work();
        return lock !== null;
      },
    );
    if (isDone) return;
    this.emit({ warning: `waiting for another page that fetches ${path}` });
    await navigator.locks.request(name, work);
  }
}
