import { FormatError, UsageError } from "../errors.ts";

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
