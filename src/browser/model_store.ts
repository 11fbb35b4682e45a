/** Models that a browser keeps for a site. */
import { type ByteSource, checkRange } from "../bytes/byte_source.ts";
import { RemoteFile, versionOf } from "../bytes/exchange.ts";
import { fromBlob } from "../bytes/memory.ts";
import { openWhole, partNames } from "../bytes/parts.ts";
import { CulmError, FormatError, UsageError } from "../errors.ts";
import { isCommit } from "../hub/cache.ts";
import { isHubName, readHubName } from "../hub/name.ts";
import { findOnHub, type PullProgress } from "../hub/pull.ts";
import { fileUrl } from "../hub/repository.ts";
import { type HubSettings, hubSettings } from "../hub/settings.ts";
import { RpcWorker, workerText } from "../platform/rpc_worker.ts";
import type {
  FetchEvent,
  FetchRequest,
  FetchService,
} from "./fetch_service.ts";
import {
  checkRoom,
  type StoredFile,
  type StoredModel,
  StoreFolder,
} from "./store_folder.ts";

/** How a model is opened. Everything may be left out. */
export interface OpenOptions {
  /** What a file of a URL is to be: SHA-256, in hexadecimal. */
  readonly sha256?: string;
  /** The address of the hub. Default `https://huggingface.co`. */
  readonly endpoint?: string;
  /** Who asks the hub. */
  readonly token?: string;
  /** Told how much is there. */
  readonly onProgress?: (progress: PullProgress) => void;
  /** Told in one line what goes on otherwise than asked, and what is waited for. */
  readonly onWarning?: (message: string) => void;
  /** Stops fetching; what is there stays. */
  readonly signal?: AbortSignal;
}

/** A model of the store. */
export interface KeptModel {
  /** As it was asked for: a URL, or `hf:OWNER/REPO:QUANT`. */
  readonly name: string;
  /** Bytes that it has. */
  readonly size: number;
  /** Bytes that are there. */
  readonly loaded: number;
  /** Whether it can be opened without a network. */
  readonly isWhole: boolean;
}

/** What is to be opened, and where the hub has it. */
interface Wanted extends Pick<FetchRequest, "model" | "hub"> {
  /** Whether parts that are there may be gone on with. */
  readonly isSame: boolean;
}

/**
 * The models that the browser keeps for this site, in its private file system
 * (OPFS): pages and workers open, list and delete them.
 */
export class ModelStore {
  readonly #folder: StoreFolder;

  private constructor(folder: StoreFolder) {
    this.#folder = folder;
  }

  /**
   * Opens the store.
   *
   * @throws {UsageError} where the browser has none
   */
  static async open(): Promise<ModelStore> {
    return new ModelStore(await StoreFolder.open());
  }

  /**
   * Opens a model: a URL, or `hf:OWNER/REPO:QUANT` of the hub. What is not there
   * is fetched, from where that was broken off, and checked, and the browser is
   * asked not to clear it away. It may be loaded at
   * once: bytes are read as they come, and `load` does not end before all were
   * right, which `whole` of what is given also tells. The caller closes it.
   *
   * @throws {UsageError} where there is no such model, or it may not be read
   * @throws {LimitError} where the browser has no room for it
   * @throws {FormatError} where a file is another than it should be
   * @throws {CulmError} where the server cannot be reached
   */
  async open(name: string, options: OpenOptions = {}): Promise<ByteSource> {
    const { signal, onProgress } = options;
    signal?.throwIfAborted();
    const wanted = isHubName(name)
      ? await this.#ofHub(name, options)
      : await this.#ofUrl(new URL(name, location.href).href, options);
    const { model } = wanted;
    const { files, opens } = model;
    const total = sum(files.map(({ size }) => size));
    const there = wanted.isSame ? await this.#loaded(model) : 0;
    if (there < total) {
      // Firefox asks its user, who may think about it. Workers cannot ask.
      navigator.storage.persist?.().catch(() => {});
      await checkRoom(total - there);
    }
    let done = 0;
    const open = async (file: StoredFile) => {
      const before = done;
      done += file.size;
      const source = await this.#openFile(wanted, file, {
        ...options,
        onLoaded: (loaded) =>
          onProgress?.({ loaded: before + loaded, total, before: there }),
      });
      if (files.length > 1) await source.whole;
      return source;
    };
    if (opens !== "") {
      return await openWhole(
        opens,
        (path) => open(files.find((file) => file.path === path)!),
      );
    }
    for (const file of files) await (await open(file)).close();
    const { viewFolder } = await import("../convert/view.ts");
    return await viewFolder({
      name,
      files: new Set(files.map(({ path }) => path)),
      open: (path) => open(files.find((file) => file.path === path)!),
    });
  }

  /** All models, also those of which only a part is there. */
  async list(): Promise<KeptModel[]> {
    const models = await this.#folder.models();
    return await Promise.all(models.map(async (model) => {
      const { name, files } = model;
      return {
        name,
        size: sum(files.map(({ size }) => size)),
        loaded: await this.#loaded(model),
        isWhole: await this.#isWhole(model),
      };
    }));
  }

  /**
   * Deletes a model, with what no other has of it.
   *
   * @throws {UsageError} where there is none of the name, or it is being fetched
   */
  async delete(name: string): Promise<void> {
    const model = await this.#folder.model(name);
    if (!model) throw new UsageError(`Cannot delete ${name}: it is not kept`);
    await this.#folder.remove(model).catch((error) => {
      throw new UsageError(
        `Cannot delete ${name}: it is in use (${error.message})`,
        { cause: error },
      );
    });
  }

  /** Bytes of a model that are there. */
  async #loaded({ files }: StoredModel): Promise<number> {
    return sum(
      await Promise.all(files.map((file) => this.#folder.loaded(file))),
    );
  }

  async #isWhole(model: StoredModel): Promise<boolean> {
    const files = model.files.map((file) => this.#folder.whole(file));
    return !(await Promise.all(files)).includes(undefined);
  }

  async #ofHub(text: string, options: OpenOptions): Promise<Wanted> {
    const { endpoint, token, signal, onWarning } = options;
    const name = readHubName(text);
    const settings: HubSettings = await hubSettings({ endpoint, token });
    const kept = await this.#folder.model(text);
    const isThere = kept !== undefined && await this.#isWhole(kept);
    if (isThere && isCommit(name.revision)) {
      return { model: kept, isSame: true };
    }
    try {
      const { commit, files, opens } = await findOnHub(name, settings, {
        signal,
        onWarning,
        // Where there is a copy, a hub that does not answer is not waited for.
        ...isThere ? { timeout: 10_000, mostFailures: 1 } : {},
      });
      const model = {
        name: text,
        commit,
        opens,
        files: files.map((file) => ({
          ...file,
          url: fileUrl(settings.endpoint, name.repo, commit, file.path),
        })),
      };
      return { model, hub: { name, settings }, isSame: true };
    } catch (error) {
      if (!isThere || !(error instanceof CulmError)) throw error;
      onWarning?.(`${error.message}; taking the copy that is kept`);
      return { model: kept, isSame: true };
    }
  }

  async #ofUrl(url: string, options: OpenOptions): Promise<Wanted> {
    const { sha256, signal } = options;
    const kept = await this.#folder.model(url);
    const isOther = sha256 !== undefined && kept?.files[0].hash !== sha256;
    if (kept && !isOther && await this.#isWhole(kept)) {
      return { model: kept, isSame: true };
    }
    const urls = partNames(url) ?? [url];
    const files = await Promise.all(
      urls.map(async (url) => ({
        ...await describe(url, signal),
        hash: sha256?.toLowerCase(),
      })),
    );
    const isSame = files.every((file, i) =>
      file.hash !== undefined ||
      file.version !== undefined && file.version === kept?.files[i]?.version
    );
    return { model: { name: url, opens: urls[0], files }, isSame };
  }

  async #openFile(
    { model, hub, isSame }: Wanted,
    file: StoredFile,
    { signal, onLoaded, onWarning }: OpenOptions & {
      readonly onLoaded: (loaded: number) => void;
    },
  ): Promise<ByteSource> {
    const there = await this.#folder.whole(file);
    if (there && isSame) {
      onLoaded(file.size);
      return fromBlob(there, file.url);
    }
    const text = await workerText();
    const worker = new RpcWorker<FetchService, FetchEvent>(text, {
      role: "fetcher",
      name: "culm fetcher",
      foreign: (message) =>
        new CulmError(`Cannot fetch ${file.url}: ${message}`),
      onEvent: (event) => {
        if ("warning" in event) onWarning?.(event.warning);
        else onLoaded(event.loaded);
      },
    });
    const stop = () => worker.terminate(signal?.reason);
    signal?.addEventListener("abort", stop);
    const request = { model, file, hub, isStale: !isSame };
    const reads = new Set<Promise<unknown>>();
    let blob: ByteSource | undefined;
    const closed = new UsageError(`Cannot read ${file.url}: it is closed`);
    const whole = worker.call("fetch", [request]).then(async () => {
      blob = fromBlob((await this.#folder.whole(file))!, file.url);
      await Promise.allSettled(reads);
      worker.terminate(closed);
    }).catch((error) => {
      worker.terminate(error);
      throw error;
    }).finally(() => signal?.removeEventListener("abort", stop));
    whole.catch(() => {}); // Told to those who read, or wait for it.
    return {
      name: file.url,
      size: file.size,
      whole,
      read: async (offset, length, spare) => {
        checkRange({ name: file.url, size: file.size }, offset, length);
        if (blob) return await blob.read(offset, length, spare);
        const reading = worker.call(
          "read",
          [file, offset, length, spare],
          spare ? [spare] : [],
        );
        reads.add(reading);
        try {
          return await reading;
        } finally {
          reads.delete(reading);
        }
      },
      close: () => {
        if (!blob) worker.terminate(closed);
        return Promise.resolve();
      },
    };
  }
}

/** What a server says of a file. */
async function describe(
  url: string,
  signal?: AbortSignal,
): Promise<StoredFile> {
  const exchange = await new RemoteFile(url, { signal }).ask(0, 1);
  const { response, total } = exchange;
  const length = response.headers.get("content-length");
  await exchange.cancel();
  const size = response.status === 200 && length ? Number(length) : total;
  if (!size) {
    throw new FormatError(
      size === 0
        ? `Cannot read ${url}: the file is empty`
        : `Cannot read ${url}: the server does not say how large the file is`,
    );
  }
  return { path: url, url, size, version: versionOf(response) };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, each) => all + each, 0);
}
