/** Locks between processes. */

interface LockableFile {
  tryLock(exclusive: boolean): Promise<boolean>;
  close(): void;
}

interface FileSystem {
  open(path: string, options: object): Promise<LockableFile>;
}

/** Time between two tries, in ms. */
const retryEvery = 200;

/**
 * Waits until a file is locked for this process, and gives what unlocks it;
 * `onWait` is told where another has it. Only Deno can lock files: elsewhere
 * nothing is waited for.
 */
export async function lockFile(
  path: string,
  signal?: AbortSignal,
  onWait?: () => void,
): Promise<Disposable> {
  const { Deno: files } = globalThis as { Deno?: FileSystem };
  const file = await files?.open(path, { write: true, create: true });
  const lock = { [Symbol.dispose]: () => file?.close() };
  try {
    for (let isFirst = true; file; isFirst = false) {
      // File systems that know no locks refuse, and are used without.
      if (await file.tryLock(true).catch(() => true)) break;
      if (isFirst) onWait?.();
      await new Promise((resolve) => setTimeout(resolve, retryEvery));
      signal?.throwIfAborted();
    }
    return lock;
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}
