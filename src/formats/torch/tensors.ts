import type { ByteSource } from "../../bytes/byte_source.ts";
import { FormatError, UnsupportedError } from "../../errors.ts";
import { bfloat16ToFloat, halfToFloat } from "../ggml/half.ts";
import { isWholes } from "../json.ts";
import { Named, type PickleValue } from "./unpickle.ts";

/** How the elements of a tensor are stored, by PyTorch's names. */
export type TorchDtype =
  | "float16"
  | "bfloat16"
  | "float32"
  | "float64"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint8"
  | "bool";

/** The class of their storage, their bytes, and how one is read. */
const dtypes: Readonly<Record<TorchDtype, ReturnType<typeof dtype>>> = {
  float16: dtype("Half", 2, (v, at) => halfToFloat(v.getUint16(at, true))),
  bfloat16: dtype(
    "BFloat16",
    2,
    (v, at) => bfloat16ToFloat(v.getUint16(at, true)),
  ),
  float32: dtype("Float", 4, (v, at) => v.getFloat32(at, true)),
  float64: dtype("Double", 8, (v, at) => v.getFloat64(at, true)),
  int8: dtype("Char", 1, (v, at) => v.getInt8(at)),
  int16: dtype("Short", 2, (v, at) => v.getInt16(at, true)),
  int32: dtype("Int", 4, (v, at) => v.getInt32(at, true)),
  int64: dtype("Long", 8, (v, at) => Number(v.getBigInt64(at, true))),
  uint8: dtype("Byte", 1, (v, at) => v.getUint8(at)),
  bool: dtype("Bool", 1, (v, at) => v.getUint8(at)),
};

function dtype(
  storage: string,
  bytes: number,
  get: (view: DataView, at: number) => number,
) {
  return { storage, bytes, get };
}

/** PyTorch's storage classes, by `module.name`, and what they store. */
export const storageClasses: ReadonlyMap<string, TorchDtype> = new Map(
  Object.entries(dtypes).map((
    [name, { storage }],
  ) => [`torch.${storage}Storage`, name as TorchDtype]),
);

/** PyTorch's own limit. */
const mostDimensions = 64;

/** Bytes of one element. */
export function dtypeBytes(dtype: TorchDtype): number {
  return dtypes[dtype].bytes;
}

/** Elements that tensors are views of. */
export class TorchStorage {
  /** Takes its name in the file, how its elements are stored, and how many there are. */
  constructor(
    readonly key: string,
    readonly dtype: TorchDtype,
    readonly length: number,
  ) {}
}

/** A tensor: a view of a storage. Nothing is read before it is needed. */
export class TorchTensor {
  /** How its elements are stored */
  readonly dtype: TorchDtype;
  /** Its sizes, slowest first, as PyTorch prints them */
  readonly shape: readonly number[];
  /** Elements of the storage from one index to the next, in each dimension */
  readonly strides: readonly number[];
  /** Element of the storage where it begins */
  readonly offset: number;
  /** What it is a view of */
  readonly storage: TorchStorage;
  readonly #read: (storage: TorchStorage) => Promise<Uint8Array<ArrayBuffer>>;

  /** Made by `readTorch`; the sizes are checked already. */
  constructor(
    view: Pick<TorchTensor, "shape" | "strides" | "offset" | "storage">,
    read: (storage: TorchStorage) => Promise<Uint8Array<ArrayBuffer>>,
  ) {
    this.dtype = view.storage.dtype;
    this.shape = view.shape;
    this.strides = view.strides;
    this.offset = view.offset;
    this.storage = view.storage;
    this.#read = read;
  }

  /** How many elements it has. */
  get length(): number {
    return product(this.shape);
  }

  /** Bytes of one element. */
  get elementBytes(): number {
    return dtypeBytes(this.dtype);
  }

  /**
   * Its elements as numbers, in row-major order, `[length]`. Integers beyond
   * 2^53 are rounded; booleans are 0 and 1.
   *
   * @throws {FormatError} where the storage is cut
   */
  async values(): Promise<Float64Array> {
    const { bytes: width, get } = dtypes[this.dtype];
    const view = new DataView((await this.bytes()).buffer);
    const values = new Float64Array(this.length);
    for (let i = 0; i < values.length; i++) values[i] = get(view, i * width);
    return values;
  }

  /**
   * Its elements as they are stored, in row-major order, `length` times the
   * bytes of one.
   *
   * @throws {FormatError} where the storage is cut
   */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    const width = dtypeBytes(this.dtype);
    const storage = await this.#read(this.storage);
    const start = this.offset * width;
    if (this.#isContiguous()) {
      return storage.slice(start, start + this.length * width);
    }
    const bytes = new Uint8Array(this.length * width);
    let next = 0;
    for (const element of this.#elements()) {
      const at = element * width;
      bytes.set(storage.subarray(at, at + width), next);
      next += width;
    }
    return bytes;
  }

  /** Whether its elements follow one another in the storage. */
  #isContiguous(): boolean {
    let expected = 1;
    for (let side = this.shape.length - 1; side >= 0; side--) {
      const size = this.shape[side];
      if (size !== 1 && this.strides[side] !== expected) return false;
      expected *= size;
    }
    return true;
  }

  /** Indices into the storage, in row-major order. */
  *#elements(): Generator<number> {
    const { shape, strides } = this;
    if (this.length === 0) return;
    const index = shape.map(() => 0);
    let element = this.offset;
    for (;;) {
      yield element;
      let side = shape.length - 1;
      while (side >= 0 && ++index[side] === shape[side]) {
        element -= (shape[side] - 1) * strides[side];
        index[side--] = 0;
      }
      if (side < 0) return;
      element += strides[side];
    }
  }
}

/**
 * Makes a tensor of what a pickle says, and checks that it lies in its storage.
 *
 * @throws {FormatError} where it does not, or is no tensor at all
 */
export function rebuildTensor(
  source: ByteSource,
  [storage, offset, shape, strides]: readonly PickleValue[],
  read: (storage: TorchStorage) => Promise<Uint8Array<ArrayBuffer>>,
): TorchTensor {
  const damaged = (what: string) =>
    new FormatError(`Cannot read ${source.name}: a tensor ${what}`);
  if (!(storage instanceof TorchStorage)) throw damaged("has no storage");
  if (!isWhole(offset) || !isWholes(shape) || !isWholes(strides)) {
    throw damaged("has sizes that are no whole numbers");
  }
  if (shape.length !== strides.length) {
    throw damaged(
      `has ${shape.length} sizes and ${strides.length} strides`,
    );
  }
  if (shape.length > mostDimensions) {
    throw damaged(
      `has ${shape.length} dimensions, the limit is ${mostDimensions}`,
    );
  }
  const length = product(shape);
  const last = shape.reduce(
    (sum, side, i) => sum + (side - 1) * strides[i],
    offset,
  );
  // A stride of 0 would make any number of elements of one.
  if (length > storage.length || (length > 0 && last >= storage.length)) {
    throw damaged(
      `of shape [${
        shape.join(", ")
      }] reaches ${length} elements, the last at ${last}; its storage has ${storage.length}`,
    );
  }
  return new TorchTensor({ storage, offset, shape, strides }, read);
}

/**
 * Makes a storage of the id that stands for it in a pickle:
 * `("storage", class, key, device, elements)`, and in old files a view of
 * another storage behind that.
 *
 * @throws {FormatError} where it is no such id
 * @throws {UnsupportedError} where the storage is a view of another
 */
export function storageOf(
  source: ByteSource,
  id: PickleValue,
): TorchStorage {
  const [tag, named, key, , length, view] = Array.isArray(id) ? id : [];
  const dtype = named instanceof Named
    ? storageClasses.get(named.name)
    : undefined;
  if (
    tag !== "storage" || !dtype || typeof key !== "string" || !isWhole(length)
  ) {
    throw new FormatError(
      `Cannot read ${source.name}: its pickle refers to something that is no storage`,
    );
  }
  if (view !== undefined && view !== null) {
    throw new UnsupportedError(
      `Cannot read ${source.name}: storage ${key} is a view of another`,
    );
  }
  return new TorchStorage(key, dtype, length);
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function product(sides: readonly number[]): number {
  // Sides of a damaged file may multiply to Infinity, and that by 0 to NaN.
  return sides.includes(0)
    ? 0
    : sides.reduce((result, side) => result * side, 1);
}
