/** From a model's name on the hub to files: in the cache, or read where they are. */
import type { ByteSource } from "../bytes/byte_source.ts";
import type { Folder } from "../bytes/folder.ts";
import { openPart } from "../bytes/part_file.ts";
import { openWhole } from "../bytes/parts.ts";
import { fromServer } from "../bytes/url.ts";
import { CulmError, LimitError, UsageError } from "../errors.ts";
import { fileSystem } from "../platform/file_system.ts";
import { permits } from "../platform/permission.ts";
import { HubCache, isCommit, sizeOf } from "./cache.ts";
import { chooseFiles } from "./choice.ts";
import { download, type DownloadOptions } from "./download.ts";
import { type HubName, hubNameText } from "./name.ts";
import {
  fileUrl,
  headersOf,
  type HubFile,
  type HubOptions,
  listRepository,
  refusedFor,
  remoteFile,
} from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** A model as the hub has it. */
export interface HubModel {
  readonly name: HubName;
  readonly commit: string;
  /** What is fetched. */
  readonly files: readonly HubFile[];
  /** The path in the repository that stands for all; empty for the folder. */
  readonly opens: string;
}

/** How far fetching has come, in bytes of all files. */
export interface PullProgress {
  /** What is there. */
  readonly loaded: number;
  /** All that there is. */
  readonly total: number;
  /** What was there when it began. */
  readonly before: number;
}

/** How models are fetched. */
export interface PullOptions extends HubOptions {
  readonly onProgress?: (progress: PullProgress) => void;
}

/**
 * Asks the hub what a name means.
 *
 * @throws {UsageError} where there is no such model, or it may not be read
 * @throws {CulmError} where the hub cannot be reached
 */
export async function findOnHub(
  name: HubName,
  settings: HubSettings,
  options?: HubOptions,
): Promise<HubModel> {
  const { commit, files } = await listRepository(name, settings, options);
  const byPath = new Map(files.map((file) => [file.path, file]));
  const choice = chooseFiles([...byPath.keys()], name);
  return {
    name,
    commit,
    opens: choice.opens,
    files: choice.files.map((path) => byPath.get(path)!),
  };
}

/** The path of a model that is in the cache, whole. */
export async function findInCache(
  name: HubName,
  { cache: folder }: HubSettings,
): Promise<string | undefined> {
  if (folder === undefined) return undefined;
  const cache = new HubCache(folder);
  const commit = await cache.commitOf(name.repo, name.revision);
  if (commit === undefined) return undefined;
  const files = await cache.filesOf(name.repo, commit);
  try {
    const { opens } = chooseFiles([...files.keys()], name);
    return cache.file(name.repo, commit, opens);
  } catch (error) {
    if (error instanceof CulmError) return undefined;
    throw error;
  }
}

/**
 * What a name means: the path of what is in the cache, where nobody need or can
 * be asked; else what the hub says.
 *
 * @throws {UsageError} where it is nowhere
 */
export async function resolve(
  name: HubName,
  settings: HubSettings,
  options: HubOptions = {},
): Promise<string | HubModel> {
  const cached = await findInCache(name, settings);
  if (cached !== undefined && (settings.offline || isCommit(name.revision))) {
    return cached;
  }
  if (settings.offline) {
    throw new UsageError(
      `Cannot find ${hubNameText(name)} offline: it is not in ${
        settings.cache ?? "a cache that may be read"
      }`,
    );
  }
  if (cached === undefined) return await findOnHub(name, settings, options);
  // Where there is a copy, a hub that does not answer is not waited for.
  const impatient = { timeout: 10_000, ...options, mostFailures: 1 };
  try {
    const model = await findOnHub(name, settings, impatient);
    const { commit } = model;
    const isSame = await findInCache({ ...name, revision: commit }, settings);
    return isSame === cached ? cached : model;
  } catch (error) {
    if (!(error instanceof CulmError)) throw error;
    options.onWarning?.(`${error.message}; taking the copy in the cache`);
    return cached;
  }
}

/** Whether models can be kept here. */
export function canKeep(
  settings: HubSettings,
): settings is HubSettings & { readonly cache: string } {
  const { cache } = settings;
  return cache !== undefined && permits("write", cache);
}

/**
 * Fetches a model into the cache, and gives its path there.
 *
 * @throws {UsageError} where it may not be read
 * @throws {LimitError} where the disk has no room for it
 * @throws {FormatError} where a file is another than the hub says
 * @throws {CulmError} where the hub cannot be reached
 */
export async function pull(
  { name, commit, files, opens }: HubModel,
  settings: HubSettings & { readonly cache: string },
  options: PullOptions = {},
): Promise<string> {
  const { repo, revision } = name;
  const { signal, onWarning, onProgress } = options;
  const cache = new HubCache(settings.cache);
  const there = await Promise.all(
    files.map((file) => bytesThere(cache, repo, commit, file)),
  );
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const before = there.reduce((sum, bytes) => sum + bytes, 0);
  await checkRoom(settings.cache, total - before, onWarning);
  let done = 0;
  for (const file of files) {
    const report = (bytes: number) =>
      onProgress?.({ loaded: done + bytes, total, before });
    if (!await cache.has(repo, commit, file)) {
      const onWait = () =>
        onWarning?.(`waiting for another program that fetches ${file.path}`);
      using _lock = await cache.lock(repo, file, signal, onWait);
      // The other program may have it by now.
      if (!await cache.has(repo, commit, file)) {
        const fetching = { ...options, onProgress: report };
        await fetchFile(cache, name, commit, file, settings, fetching);
        await cache.link(repo, commit, file);
      }
    }
    report(file.size);
    done += file.size;
  }
  const isKnown = await cache.commitOf(repo, revision) === commit;
  if (!isKnown || isCommit(revision)) {
    await cache.setRef(repo, revision, commit);
  }
  return cache.file(repo, commit, opens);
}

/** Fetches a file to its place by its hash, where it is not there. */
async function fetchFile(
  cache: HubCache,
  name: HubName,
  commit: string,
  file: HubFile,
  settings: HubSettings,
  options: DownloadOptions & HubOptions,
): Promise<void> {
  const blob = cache.blob(name.repo, file.hash);
  if (await sizeOf(blob) === file.size) return;
  const remote = remoteFile(name, commit, file.path, settings, options);
  const path = `${blob}.incomplete`;
  const { rename, rm } = fileSystem(path);
  const part = await openPart(path);
  try {
    await download(remote, file, part, options);
  } catch (error) {
    if (await part.size() === 0) await rm(path);
    throw error;
  } finally {
    await part.close();
  }
  await rename(path, blob);
}

/** Bytes of a file that need not be fetched. */
async function bytesThere(
  cache: HubCache,
  repo: string,
  commit: string,
  file: HubFile,
): Promise<number> {
  if (await cache.has(repo, commit, file)) return file.size;
  const blob = cache.blob(repo, file.hash);
  if (await sizeOf(blob) === file.size) return file.size;
  return Math.min(file.size, await sizeOf(`${blob}.incomplete`) ?? 0);
}

/**
 * Makes the cache's folder, and checks that there is room for so many bytes in it.
 *
 * @throws {LimitError} where there is not
 */
async function checkRoom(
  folder: string,
  needed: number,
  onWarning?: (message: string) => void,
): Promise<void> {
  const { mkdir, statfs } = fileSystem(folder);
  await mkdir(folder, { recursive: true });
  if (needed === 0) return;
  const free = await statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => undefined,
  );
  if (free === undefined) {
    onWarning?.(
      "whether the disk has room is not known: the sandbox, or the system, does not tell (--allow-sys=statfs)",
    );
  } else if (free < needed) {
    throw new LimitError(
      `Cannot keep the model in ${folder}: ${needed} bytes are to be fetched, the disk has room for ${free}`,
    );
  }
}

/** A model read where it is: a file, with all its parts, or a folder. */
export function openOnHub(
  { name, commit, files, opens }: HubModel,
  settings: HubSettings,
  options: HubOptions = {},
): Promise<ByteSource> | Folder {
  const { endpoint } = settings;
  const { signal, timeout } = options;
  const open = (url: string) =>
    fromServer(
      url,
      { signal, timeout, headers: headersOf(settings) },
      refusedFor(name, settings),
    );
  const urlOf = (path: string) => fileUrl(endpoint, name.repo, commit, path);
  if (opens !== "") return openWhole(urlOf(opens), open);
  return {
    name: hubNameText(name),
    files: new Set(files.map(({ path }) => path)),
    open: (file) => open(urlOf(file)),
  };
}
