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
