import { FormatError, UsageError } from "../errors.ts";

/** Something that bytes can be read from at any offset: a buffer, a Blob, a file, a web server. */
export interface ByteSource {
  /** What to call it in messages: a path, a URL, a given name. */
  readonly name: string;
  /** Its length in bytes. */
  readonly size: number;
  /** Whether reading goes over a network, and is not done again without need. */
  readonly isRemote?: boolean;
  /** The files that it is, one after another, where it is several of which each has a header of its own. */
  readonly parts?: readonly ByteSource[];
  /**
   * The local files that it is, one after another, where it is such: the path or
   * `file:` URL of each, and its bytes and the time of its last change, in ms,
   * when it was opened.
   */
  readonly localFiles?: readonly {
    readonly path: string;
    readonly size: number;
    readonly mtimeMs: number;
  }[];
  /**
   * Settles when all of it is there, and is what it should be; may be left out
   * where it is from the start. What was read before must not be used where
   * this rejects.
   */
  readonly whole?: Promise<void>;
  /**
   * Reads exactly `length` bytes from `offset`. The caller owns their buffer and
   * may transfer it.
   *
   * `spare` is a buffer that the caller is done with and gives up: the bytes
   * come in it, or in its memory as another buffer, where it is large enough and
   * the source can read into it, else in a fresh one. Reading a large file into
   * the same few buffers spares the system from clearing pages for each of them.
   *
   * @throws {FormatError} where the range passes the end.
   */
  read(
    offset: number,
    length: number,
    spare?: ArrayBuffer,
  ): Promise<Uint8Array<ArrayBuffer>>;
  /** Lets go of what it holds (a file handle); reading afterwards fails. */
  close(): Promise<void>;
}

/**
 * Checks that the bytes `offset..offset + length` lie within `source`.
 *
 * @throws {UsageError} where offset or length is no whole number of bytes.
 * @throws {FormatError} where the range passes the end.
 */
export function checkRange(
  source: { readonly name: string; readonly size: number },
  offset: number,
  length: number,
): void {
  if (!isByteCount(offset) || !isByteCount(length)) {
    throw new UsageError(
      `Cannot read ${source.name}: offset ${offset} and length ${length} must be whole and not negative`,
    );
  }
  if (length > source.size - offset) {
    throw new FormatError(
      `Cannot read ${source.name}: needs bytes ${offset}..${
        offset + length
      }, the file has ${source.size}`,
    );
  }
}

function isByteCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/**
 * Room for `length` bytes: in `spare` where it is large enough, else fresh. The
 * caller overwrites all of it, for a spare still holds what was there.
 */
export function bufferFor(
  length: number,
  spare?: ArrayBuffer,
): Uint8Array<ArrayBuffer> {
  return spare !== undefined && spare.byteLength >= length
    ? new Uint8Array(spare, 0, length)
    : new Uint8Array(length);
}

/** The local files of sources that are read as one, where all are such. */
export function localFilesOf(
  sources: readonly ByteSource[],
): ByteSource["localFiles"] {
  const files = sources.map((source) => source.localFiles);
  return files.every((each) => each !== undefined) ? files.flat() : undefined;
}

/** A view of the same bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
