/**
 * Random access to bytes, whatever holds them: a buffer, a Blob, a file, a
 * web server.
 *
 * @module
 */

/** Something that bytes can be read from at any offset. */
export interface ByteSource {
  /** What to call it in messages: a path, a URL, a given name. */
  readonly name: string;
  /** Its length in bytes. */
  readonly size: number;
  /**
   * Reads exactly `length` bytes from `offset`. The caller owns their buffer and
   * may transfer it.
   *
   * `spare` is a buffer that the caller is done with and gives up: the bytes
   * come in it where it is large enough and the source can read into it, else
   * in a fresh one. Reading a large file into the same few buffers spares the
   * system from clearing pages for each of them.
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
