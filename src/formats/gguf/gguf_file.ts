import type { GgmlType } from "../ggml/types.ts";

/** The first four bytes of a file: llama.cpp's, or PowerInfer's own. */
export type GgufMagic = "GGUF" | "PWRI";

/** Type of a metadata value. */
export type MetadataType =
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "uint32"
  | "int32"
  | "float32"
  | "bool"
  | "string"
  | "array"
  | "uint64"
  | "int64"
  | "float64";

/**
 * The fewest bytes of a value, which an empty string or array has, by types in
 * the order that files number them by.
 */
export const metadataBytes: Readonly<Record<MetadataType, number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 8,
  array: 12,
  uint64: 8,
  int64: 8,
  float64: 8,
};

/** Types of metadata values, each at the index that files number it by. */
export const metadataTypes = Object.keys(
  metadataBytes,
) as readonly MetadataType[];

/**
 * A metadata value. 64-bit integers are numbers where a number holds them
 * exactly, and bigints otherwise.
 */
export type MetadataValue = number | bigint | boolean | string | MetadataArray;

/** Values of an array, one after another. */
export type MetadataValues<T extends MetadataValue = MetadataValue> =
  & ArrayLike<T>
  & Iterable<T>;

/** A metadata array: its values are all of one type. */
export interface MetadataArray {
  /** Type of every value. */
  readonly elementType: MetadataType;
  /** The values, in the file's order. Of a file, numbers come in a typed array. */
  readonly values: MetadataValues;
}

/** A metadata value with the type that the file stores it in. */
export interface MetadataEntry {
  /** Type of the value in the file. */
  readonly type: MetadataType;
  /** The value itself. */
  readonly value: MetadataValue;
}

/** Metadata values by type. */
export const entry = {
  text: (value: string): MetadataEntry => ({ type: "string", value }),
  whole: (value: number): MetadataEntry => ({ type: "uint32", value }),
  real: (value: number): MetadataEntry => ({ type: "float32", value }),
  flag: (value: boolean): MetadataEntry => ({ type: "bool", value }),
  texts: (values: readonly string[]): MetadataEntry => ({
    type: "array",
    value: { elementType: "string", values },
  }),
  reals: (values: MetadataValues<number>): MetadataEntry => ({
    type: "array",
    value: { elementType: "float32", values },
  }),
  flags: (values: MetadataValues<boolean>): MetadataEntry => ({
    type: "array",
    value: { elementType: "bool", values },
  }),
  wholes: (values: MetadataValues<number>): MetadataEntry => ({
    type: "array",
    value: { elementType: "int32", values },
  }),
};

/** Where a tensor lies in its file, and how its bytes are to be read. */
export interface TensorInfo {
  /** Its name, for instance `blk.3.ffn_up.weight`. */
  readonly name: string;
  /** How its weights are stored. */
  readonly type: GgmlType;
  /** Sizes in ggml's order: `shape[0]` is the length of a row, the fastest. */
  readonly shape: readonly number[];
  /** Offset of its first byte in the file. */
  readonly offset: number;
  /** Its length in bytes, without padding. */
  readonly byteLength: number;
  /** Where its rows lie, ascending, if not all one behind another from `offset` on. */
  readonly pieces?: readonly RowPiece[];
}

/** Rows of a tensor that lie at equal distances. */
export interface RowPiece {
  /** The first row. */
  readonly first: number;
  /** The row behind the last. */
  readonly end: number;
  /** Offset of the first row's first byte in the file. */
  readonly offset: number;
  /** Bytes from one row's beginning to the next one's; 0 where all are one. */
  readonly stride: number;
}

/** What a GGUF file says before its weights begin. */
export interface GgufFile {
  /** Whose format: plain GGUF or PowerInfer's. */
  readonly magic: GgufMagic;
  /** Version of the format. */
  readonly version: 2 | 3;
  /** Tensors begin at multiples of this many bytes. */
  readonly alignment: number;
  /** Metadata by key, in the file's order. */
  readonly metadata: ReadonlyMap<string, MetadataEntry>;
  /** Tensors by name, in the file's order. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Length of the file in bytes. */
  readonly size: number;
  /** What is odd about the header, and does no harm: one sentence each. */
  readonly notes?: readonly string[];
}

/** Alignment of a file that has no `general.alignment`. */
export const DEFAULT_ALIGNMENT = 32;

/** The first multiple of `alignment` that is not below `offset`. */
export function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

/** Whether an alignment is a power of two that fits in 32 bits. */
export function isAlignment(value: number): boolean {
  return Number.isInteger(value) && value > 0 && value <= 2 ** 31 &&
    Number.isInteger(Math.log2(value));
}
