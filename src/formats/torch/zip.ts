/**
 * Reads zip archives, of which PyTorch's files are one: the directory, and the
 * bytes of a member. Every offset and size is checked against the file before
 * memory is taken.
 */
import { type ByteSource, viewOf } from "../../bytes/byte_source.ts";
import { FormatError, LimitError, UnsupportedError } from "../../errors.ts";
import { printable } from "../gguf/header_cursor.ts";

/** A file in an archive. Sizes and offsets count bytes. */
export interface ZipMember {
  /** Its path in the archive */
  readonly name: string;
  /** Whether its bytes are deflated, or stored as they are */
  readonly deflated: boolean;
  /** Its bytes in the archive */
  readonly compressedSize: number;
  /** Its bytes when they are inflated */
  readonly size: number;
  /** Where its local header begins */
  readonly headerOffset: number;
}

/** A zip file begins with this, a member's local header. */
export const localSignature = 0x04034b50;
const entrySignature = 0x02014b50;
const endSignature = 0x06054b50;
const end64Signature = 0x06064b50;
const locator64Signature = 0x07064b50;

const localBytes = 30, entryBytes = 46, endBytes = 22;
const end64Bytes = 56, locator64Bytes = 20;
const longestComment = 0xffff;

/** The largest directory that is read, in bytes: some 100,000 members. */
const largestDirectory = 2 ** 24;
/** The largest member that is read at once, in bytes: a matrix of a predictor. */
const largestMember = 2 ** 28;
/** Deflate makes a byte of at most this many. */
const highestRatio = 1032;

/**
 * Lists the members of an archive, by name.
 *
 * @throws {FormatError} where the archive is cut or damaged
 * @throws {LimitError} where its directory passes 16 MiB
 * @throws {UnsupportedError} where members are encrypted, or compressed otherwise than by deflate
 */
export async function readZipDirectory(
  source: ByteSource,
): Promise<Map<string, ZipMember>> {
  const { offset, size, count } = await findDirectory(source);
  const damaged = damageOf(source);
  const end = offset + size;
  if (end > source.size) {
    throw damaged(
      `its directory takes bytes ${offset}..${end}, the file has ${source.size}`,
    );
  }
  if (count * entryBytes > size) {
    throw damaged(
      `its directory declares ${count} members of at least ${entryBytes} bytes each, it has ${size}`,
    );
  }
  if (size > largestDirectory) {
    throw new LimitError(
      `Cannot read ${source.name}: its directory takes ${size} bytes, the limit is ${largestDirectory}`,
    );
  }
  const bytes = await source.read(offset, size);
  const members = new Map<string, ZipMember>();
  for (let at = 0, i = 0; i < count; i++) {
    const { member, next } = readEntry(source, bytes, at);
    if (members.has(member.name)) {
      throw damaged(`it has two members "${printable(member.name)}"`);
    }
    members.set(member.name, member);
    at = next;
  }
  return members;
}

/**
 * Where a stored member's bytes begin in the archive.
 *
 * @throws {FormatError} where its local header is damaged, or its bytes pass the end
 */
export async function memberOffset(
  source: ByteSource,
  member: ZipMember,
): Promise<number> {
  const view = viewOf(await source.read(member.headerOffset, localBytes));
  const name = `member "${printable(member.name)}"`;
  if (view.getUint32(0, true) !== localSignature) {
    throw damageOf(source)(
      `${name} has no header at byte ${member.headerOffset}`,
    );
  }
  const offset = member.headerOffset + localBytes + view.getUint16(26, true) +
    view.getUint16(28, true);
  const end = offset + member.compressedSize;
  if (end > source.size) {
    throw damageOf(source)(
      `${name} takes bytes ${offset}..${end}, the file has ${source.size}`,
    );
  }
  return offset;
}

/**
 * A member's bytes, inflated where they are deflated.
 *
 * @throws {FormatError} where they are damaged
 * @throws {LimitError} where they take more than `most`
 */
export async function readMember(
  source: ByteSource,
  member: ZipMember,
  most: number = largestMember,
): Promise<Uint8Array<ArrayBuffer>> {
  const { size, compressedSize, deflated } = member;
  const damaged = damageOf(source);
  const name = `member "${printable(member.name)}"`;
  const offset = await memberOffset(source, member);
  if (deflated && size > highestRatio * compressedSize) {
    throw damaged(
      `${name} declares ${size} bytes of ${compressedSize} deflated ones`,
    );
  }
  if (size > most) {
    throw new LimitError(
      `Cannot read ${source.name}: ${name} takes ${size} bytes, the limit is ${most}`,
    );
  }
  if (!deflated) return await source.read(offset, size);
  // PyTorch stores its members, and this takes some 15 ms to load.
  const { inflateSync } = await import("fflate");
  const bytes = await source.read(offset, compressedSize);
  // One byte more than it should take, so that a longer one shows.
  const room = new Uint8Array(size + 1);
  let inflated: Uint8Array;
  try {
    inflated = inflateSync(bytes, { out: room });
  } catch (error) {
    throw damaged(`${name} cannot be inflated: ${(error as Error).message}`);
  }
  if (inflated.length !== size) {
    throw damaged(
      `${name} declares ${size} bytes, it inflates to ${
        inflated.length > size ? "more" : inflated.length
      }`,
    );
  }
  return room.subarray(0, size);
}

async function findDirectory(
  source: ByteSource,
): Promise<{ offset: number; size: number; count: number }> {
  const length = Math.min(source.size, endBytes + longestComment);
  const start = source.size - length;
  const view = viewOf(await source.read(start, length));
  let at = length - endBytes;
  while (at >= 0 && view.getUint32(at, true) !== endSignature) at--;
  if (at < 0) {
    throw damageOf(source)("it has no zip directory at its end: it is cut");
  }
  const count = view.getUint16(at + 10, true);
  const size = view.getUint32(at + 12, true);
  const offset = view.getUint32(at + 16, true);
  return count === 0xffff || size === 0xffffffff || offset === 0xffffffff
    ? await findDirectory64(source, start + at - locator64Bytes)
    : { offset, size, count };
}

/** The directory of an archive whose sizes pass 32 bits. */
async function findDirectory64(
  source: ByteSource,
  locator: number,
): Promise<{ offset: number; size: number; count: number }> {
  const damaged = damageOf(source);
  const missing = damaged("its zip64 directory is missing");
  if (locator < 0) throw missing;
  const found = viewOf(await source.read(locator, locator64Bytes));
  if (found.getUint32(0, true) !== locator64Signature) throw missing;
  const end = whole(source, found, 8);
  if (end + end64Bytes > source.size) throw missing;
  const record = viewOf(await source.read(end, end64Bytes));
  if (record.getUint32(0, true) !== end64Signature) throw missing;
  return {
    count: whole(source, record, 32),
    size: whole(source, record, 40),
    offset: whole(source, record, 48),
  };
}

function readEntry(
  source: ByteSource,
  bytes: Uint8Array,
  at: number,
): { member: ZipMember; next: number } {
  const damaged = damageOf(source);
  const view = viewOf(bytes);
  if (
    at + entryBytes > bytes.length ||
    view.getUint32(at, true) !== entrySignature
  ) {
    throw damaged(`its directory is damaged at byte ${at} of ${bytes.length}`);
  }
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  const nameEnd = at + entryBytes + view.getUint16(at + 28, true);
  const extraEnd = nameEnd + view.getUint16(at + 30, true);
  const next = extraEnd + view.getUint16(at + 32, true);
  if (next > bytes.length) {
    throw damaged(
      `its directory needs bytes up to ${next}, it has ${bytes.length}`,
    );
  }
  const name = new TextDecoder().decode(
    bytes.subarray(at + entryBytes, nameEnd),
  );
  const label = `member "${printable(name)}"`;
  const sizes = {
    size: view.getUint32(at + 24, true),
    compressedSize: view.getUint32(at + 20, true),
    headerOffset: view.getUint32(at + 42, true),
  };
  widen(source, sizes, viewOf(bytes.subarray(nameEnd, extraEnd)));
  const { size, compressedSize, headerOffset } = sizes;
  if (flags & 1 || (method !== 0 && method !== 8)) {
    throw new UnsupportedError(
      `Cannot read ${source.name}: ${label} is ${
        flags & 1 ? "encrypted" : `compressed by method ${method}`
      }; stored and deflated ones can be read`,
    );
  }
  const deflated = method === 8;
  if (headerOffset + localBytes + compressedSize > source.size) {
    throw damaged(
      `${label} needs ${compressedSize} bytes from ${headerOffset}, the file has ${source.size}`,
    );
  }
  if (!deflated && size !== compressedSize) {
    throw damaged(
      `${label} is stored in ${compressedSize} bytes, and declares ${size}`,
    );
  }
  return {
    member: { name, deflated, compressedSize, size, headerOffset },
    next,
  };
}

/** Replaces 32-bit sizes that are all ones by those of the zip64 extra field. */
function widen(
  source: ByteSource,
  sizes: { size: number; compressedSize: number; headerOffset: number },
  extra: DataView,
): void {
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const end = at + 4 + extra.getUint16(at + 2, true);
    if (extra.getUint16(at, true) === 1) {
      let value = at + 4;
      for (const name of ["size", "compressedSize", "headerOffset"] as const) {
        if (sizes[name] !== 0xffffffff) continue;
        if (value + 8 > Math.min(end, extra.byteLength)) return;
        sizes[name] = whole(source, extra, value);
        value += 8;
      }
    }
    at = end;
  }
}

/** A 64-bit number that can be a size in this file. */
function whole(source: ByteSource, view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(source.size)) {
    throw damageOf(source)(
      `a size or offset is ${value}, the file has ${source.size} bytes`,
    );
  }
  return Number(value);
}

function damageOf(source: ByteSource): (what: string) => FormatError {
  return (what) => new FormatError(`Cannot read ${source.name}: ${what}`);
}
