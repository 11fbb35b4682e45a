/** Pieces of a GGUF header, laid out by hand so that they may be wrong. */

export type Bytes = Uint8Array<ArrayBuffer>;

export function u32(value: number): Bytes {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, true);
  return new Uint8Array(view.buffer);
}

export function u64(value: number | bigint): Bytes {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value), true);
  return new Uint8Array(view.buffer);
}

export function text(value: string | Uint8Array): Bytes {
  const bytes = typeof value === "string"
    ? new TextEncoder().encode(value)
    : value;
  return concat(u64(bytes.length), bytes);
}

export function concat(...parts: Uint8Array[]): Bytes {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Magic, version and counts. */
export function preamble(
  { magic = "GGUF", version = 3, tensors = 0, entries = 0 }: {
    magic?: string;
    version?: number;
    tensors?: number | bigint;
    entries?: number | bigint;
  },
): Bytes {
  return concat(
    new TextEncoder().encode(magic),
    u32(version),
    u64(tensors),
    u64(entries),
  );
}

/** The description of a tensor: F32, 8 weights, first in the data. */
export function tensor(
  {
    name = "t",
    dimensions = [8],
    rank = dimensions.length,
    type = 0,
    offset = 0,
  }: {
    name?: string;
    dimensions?: (number | bigint)[];
    rank?: number;
    type?: number;
    offset?: number | bigint;
  },
): Bytes {
  return concat(
    text(name),
    u32(rank),
    ...dimensions.map(u64),
    u32(type),
    u64(offset),
  );
}
