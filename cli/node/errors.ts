/** Errors of the system, by Deno's classes and in its words. */
import { getSystemErrorMap } from "node:util";

class NotFound extends Error {}
class AlreadyExists extends Error {}
class PermissionDenied extends Error {}
class IsADirectory extends Error {}
class BrokenPipe extends Error {}
class AddrInUse extends Error {}
class NotCapable extends Error {}

export const errors = {
  NotFound,
  AlreadyExists,
  PermissionDenied,
  IsADirectory,
  BrokenPipe,
  AddrInUse,
  NotCapable,
};

type ErrorClass = new (message: string, options?: ErrorOptions) => Error;

const classes: Readonly<Record<string, ErrorClass>> = {
  ENOENT: NotFound,
  EEXIST: AlreadyExists,
  EACCES: PermissionDenied,
  EPERM: PermissionDenied,
  EISDIR: IsADirectory,
  EPIPE: BrokenPipe,
  EADDRINUSE: AddrInUse,
  ERR_ACCESS_DENIED: NotCapable,
};

/** One of Node's, as Deno would have thrown it. */
export function errorOf(cause: unknown): unknown {
  const { code, errno, message } = cause as NodeJS.ErrnoException;
  if (code === undefined) return cause;
  const said = errno === undefined
    ? undefined
    : getSystemErrorMap().get(errno)?.[1];
  const words = said ? said[0].toUpperCase() + said.slice(1) : message;
  return new (classes[code] ?? Error)(words, { cause });
}

/** What `work` gives. */
export function now<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw errorOf(error);
  }
}

/** What `work` gives later. */
export async function later<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw errorOf(error);
  }
}
