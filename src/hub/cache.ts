/**
 * The folder in which Hugging Face's tools keep what they fetch: `blobs` by
 * their hash, `snapshots` of commits with links to these, `refs` from branches
 * to commits.
 */
import type { Dirent } from "node:fs";
import { fileSystem } from "../platform/file_system.ts";
import { lockFile } from "../platform/lock.ts";
import { isSafePath } from "./name.ts";
import type { HubFile } from "./repository.ts";

/** A model's files at one commit. */
export interface CachedSnapshot {
  readonly commit: string;
  /** Branches and tags that lead to it. */
  readonly refs: readonly string[];
  /** Its files' paths in the repository, sorted, with their sizes. */
  readonly files: ReadonlyMap<string, number>;
}

/** A repository in the cache. */
export interface CachedRepository {
  /** `OWNER/REPO` */
  readonly repo: string;
  readonly snapshots: readonly CachedSnapshot[];
  /** Bytes of files that are not whole yet. */
  readonly incompleteBytes: number;
}

const kind = "models--";

function folderName(repo: string): string {
  return kind + repo.replace("/", "--");
}

/** The cache, in a folder. */
export class HubCache {
  constructor(readonly folder: string) {}

  /** Where all of a repository lies. */
  repository(repo: string): string {
    return `${this.folder}/${folderName(repo)}`;
  }

  /** Where the locks of a repository's files lie. */
  #locks(repo: string): string {
    return `${this.folder}/.locks/${folderName(repo)}`;
  }

  /** Where a file lies by its hash. */
  blob(repo: string, hash: string): string {
    return `${this.repository(repo)}/blobs/${hash}`;
  }

  /** Where a file lies by its name; the whole snapshot, where that is empty. */
  file(repo: string, commit: string, path: string): string {
    const snapshot = `${this.repository(repo)}/snapshots/${commit}`;
    return path === "" ? snapshot : `${snapshot}/${path}`;
  }

  /** The commit that a branch, a tag or a commit is here. */
  async commitOf(repo: string, revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const { readFile } = fileSystem(this.folder);
    const path = `${this.repository(repo)}/refs/${revision}`;
    const text = (await readFile(path, "utf8").catch(() => "")).trim();
    return isCommit(text) ? text : undefined;
  }

  /** The files of a snapshot, those alone that can be read. */
  async filesOf(repo: string, commit: string): Promise<Map<string, number>> {
    const { stat } = fileSystem(this.folder);
    const root = this.file(repo, commit, "");
    const files = new Map<string, number>();
    for (const path of (await pathsIn(root)).sort()) {
      const status = await stat(`${root}/${path}`).catch(() => undefined);
      if (status?.isFile()) files.set(path, status.size);
    }
    return files;
  }

  /** Whether a file is there, whole. */
  async has(repo: string, commit: string, file: HubFile): Promise<boolean> {
    return await sizeOf(this.file(repo, commit, file.path)) === file.size;
  }

  /** Waits until no other process fetches a file, and keeps others from it. */
  async lock(
    repo: string,
    { hash }: HubFile,
    signal?: AbortSignal,
    onWait?: () => void,
  ): Promise<Disposable> {
    const { mkdir } = fileSystem(this.folder);
    // Where Hugging Face's own tools have theirs, which so wait for this one.
    const folder = this.#locks(repo);
    await mkdir(folder, { recursive: true });
    await mkdir(`${this.repository(repo)}/blobs`, { recursive: true });
    return await lockFile(`${folder}/${hash}.lock`, signal, onWait);
  }

  /**
   * Gives a blob its name in a snapshot: by a symbolic link, which a sandbox
   * permits where all files may be read and written, else by a hard link, else
   * by moving it there.
   */
  async link(repo: string, commit: string, file: HubFile): Promise<void> {
    const { link, rename, rm, symlink } = fileSystem(this.folder);
    const blob = this.blob(repo, file.hash);
    const path = this.file(repo, commit, file.path);
    await makeFolderOf(path);
    await rm(path, { force: true });
    const up = "../".repeat(file.path.split("/").length + 1);
    await symlink(`${up}blobs/${file.hash}`, path)
      .catch(() => link(blob, path))
      .catch(() => rename(blob, path));
  }

  /** Remembers which commit a branch or a tag is; its snapshot must be there. */
  async setRef(repo: string, revision: string, commit: string): Promise<void> {
    const { mkdir, rename, writeFile } = fileSystem(this.folder);
    const root = this.repository(repo);
    await mkdir(`${root}/refs`, { recursive: true });
    if (isCommit(revision)) return;
    const path = `${root}/refs/${revision}`;
    await makeFolderOf(path);
    // A reader finds the old commit or the new one, and never half of one.
    await writeFile(`${root}/refs.part`, commit);
    await rename(`${root}/refs.part`, path);
  }

  /** All repositories of models, by name. */
  async list(): Promise<CachedRepository[]> {
    const repositories: CachedRepository[] = [];
    for (const { name } of await entriesOf(this.folder)) {
      const repo = name.slice(kind.length).replace("--", "/");
      if (!name.startsWith(kind) || !isSafePath(repo)) continue;
      repositories.push(await this.#describe(repo));
    }
    return repositories.sort((a, b) => a.repo < b.repo ? -1 : 1);
  }

  /** A repository as it is here; without snapshots where it is not. */
  async #describe(repo: string): Promise<CachedRepository> {
    const root = this.repository(repo);
    const refs = await Promise.all(
      (await pathsIn(`${root}/refs`)).sort().map(async (ref) => ({
        ref,
        commit: await this.commitOf(repo, ref),
      })),
    );
    const snapshots = await Promise.all(
      (await entriesOf(`${root}/snapshots`)).map(async ({ name: commit }) => ({
        commit,
        refs: refs.filter((each) => each.commit === commit)
          .map(({ ref }) => ref),
        files: await this.filesOf(repo, commit),
      })),
    );
    const sizes = (await entriesOf(`${root}/blobs`))
      .filter(({ name }) => name.endsWith(".incomplete"))
      .map(({ name }) => sizeOf(`${root}/blobs/${name}`));
    const incompleteBytes = (await Promise.all(sizes))
      .reduce<number>((sum, size) => sum + (size ?? 0), 0);
    return { repo, snapshots, incompleteBytes };
  }

  /** Removes a repository, with what is not whole yet. Returns the bytes that this frees. */
  async removeRepository(repo: string): Promise<number> {
    const { rm } = fileSystem(this.folder);
    const root = this.repository(repo);
    const freed = await bytesIn(root);
    await rm(root, { recursive: true, force: true });
    await rm(this.#locks(repo), { recursive: true, force: true });
    return freed;
  }

  /**
   * Removes files from every snapshot, and the blobs that no other file is a
   * name of; with the last file, all of the repository. Returns the bytes that
   * this frees.
   */
  async removeFiles(repo: string, paths: readonly string[]): Promise<number> {
    const { rm } = fileSystem(this.folder);
    const root = this.repository(repo);
    const before = await bytesIn(root);
    const kept = new Set<string>(), removed = new Set<string>();
    for (const { name: commit } of await entriesOf(`${root}/snapshots`)) {
      for (const path of (await this.filesOf(repo, commit)).keys()) {
        const file = this.file(repo, commit, path);
        const isWanted = !paths.includes(path);
        (isWanted ? kept : removed).add(await identityOf(file));
        if (!isWanted) await rm(file);
      }
    }
    if (kept.size === 0) {
      await this.removeRepository(repo);
      return before;
    }
    for (const { name } of await entriesOf(`${root}/blobs`)) {
      const identity = await identityOf(`${root}/blobs/${name}`);
      if (removed.has(identity) && !kept.has(identity)) {
        await rm(`${root}/blobs/${name}`);
      }
    }
    return before - await bytesIn(root);
  }
}

/** Whether a revision is a commit. */
export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}

/** The size of a file, through links; none where there is no file. */
export async function sizeOf(path: string): Promise<number | undefined> {
  const { stat } = fileSystem(path);
  return await stat(path).then(
    (status) => status.isFile() ? status.size : undefined,
    () => undefined,
  );
}

/** Makes the folder in which a file is to lie. */
async function makeFolderOf(path: string): Promise<void> {
  const { mkdir } = fileSystem(path);
  await mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  const { readdir } = fileSystem(folder);
  return await readdir(folder, { withFileTypes: true }).catch(() => []);
}

/** Paths of all that is no folder in a folder, or in those within it. */
async function pathsIn(folder: string): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await entriesOf(folder)) {
    if (!entry.isDirectory()) paths.push(entry.name);
    else {
      const within = await pathsIn(`${folder}/${entry.name}`);
      paths.push(...within.map((path) => `${entry.name}/${path}`));
    }
  }
  return paths;
}

/** What two paths of the same file have in common, through links. */
async function identityOf(path: string): Promise<string> {
  const { stat } = fileSystem(path);
  const { dev, ino } = await stat(path);
  return `${dev}:${ino}`;
}

/** Bytes of all files in a folder, those of several names counted once. */
async function bytesIn(folder: string): Promise<number> {
  const { lstat } = fileSystem(folder);
  const sizes = new Map<string, number>();
  for (const path of await pathsIn(folder)) {
    const { dev, ino, size } = await lstat(`${folder}/${path}`);
    sizes.set(`${dev}:${ino}`, size);
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}
