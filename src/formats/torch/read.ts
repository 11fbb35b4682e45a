/**
 * Reads the tensors of PyTorch's `.pt` files, as `torch.save` writes them: zip
 * archives, and the older form of pickles in a row. Nothing of a file is
 * executed; what is no plain tensor, dict or list is refused by its name.
 */
import type { ByteSource } from "../../bytes/byte_source.ts";
import { FormatError, LimitError, UnsupportedError } from "../../errors.ts";
import {
  dtypeBytes,
  rebuildTensor,
  storageClasses,
  storageOf,
  type TorchStorage,
  TorchTensor,
} from "./tensors.ts";
import {
  type PickleFunction,
  type PickleValue,
  type PickleWorld,
  unpickle,
} from "./unpickle.ts";
import {
  localSignature,
  memberOffset,
  readMember,
  readZipDirectory,
  type ZipMember,
} from "./zip.ts";

export { type TorchDtype, TorchStorage, TorchTensor } from "./tensors.ts";

/** What a file holds: a tensor, or dicts, lists and plain values around tensors. */
export type TorchValue =
  | TorchTensor
  | null
  | boolean
  | number
  | bigint
  | string
  | TorchValue[]
  | Map<TorchValue, TorchValue>;

/** The largest pickle that is read, in bytes; tensors are not part of it. */
const largestPickle = 2 ** 22;
/** What the older form begins with, and its version. */
const legacyMagic = 0x1950a86a20f9469cfc6cn;
const legacyProtocol = 1001;

type ReadStorage = (storage: TorchStorage) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * Reads a file. Elements of tensors are read by `tensor.values()`.
 *
 * @throws {FormatError} where it is cut or damaged, or is no such file
 * @throws {UnsupportedError} where it holds something else than tensors, dicts and lists
 * @throws {LimitError} where it says more than 4 MiB without its tensors
 *
 * @example
 * ```ts ignore
 * const value = await readTorch(await openFile("activation_0.pt"));
 * if (value instanceof TorchTensor) console.log(await value.values());
 * ```
 */
export async function readTorch(source: ByteSource): Promise<TorchValue> {
  const head = await source.read(0, Math.min(4, source.size));
  const isZip = head.length === 4 &&
    new DataView(head.buffer).getUint32(0, true) === localSignature;
  return await (isZip ? readArchive(source) : readLegacy(source));
}

/** The form of today: `data.pkl`, and each storage as `data/KEY`, in one folder. */
async function readArchive(source: ByteSource): Promise<TorchValue> {
  const members = await readZipDirectory(source);
  const pickle = members.values().find(({ name }) =>
    /^([^/]*\/)?data\.pkl$/.test(name)
  );
  if (!pickle) {
    throw new FormatError(
      `Cannot read ${source.name}: it has no data.pkl, which PyTorch's files have`,
    );
  }
  const folder = pickle.name.slice(0, -"data.pkl".length);
  await refuseBigEndian(source, members.get(`${folder}byteorder`));
  const storageMember = ({ key, dtype, length }: TorchStorage) => {
    const member = members.get(`${folder}data/${key}`);
    const expected = length * dtypeBytes(dtype);
    // What is stored is read in place, but all that is deflated is inflated.
    if (
      !member || member.size < expected ||
      member.deflated && member.size > expected
    ) {
      throw new FormatError(
        `Cannot read ${source.name}: storage ${key} takes ${expected} bytes, the file has ${
          member?.size ?? "none"
        }`,
      );
    }
    return { member, expected };
  };
  const world = worldOf(source, async (storage) => {
    const { member, expected } = storageMember(storage);
    if (member.deflated) return await readMember(source, member);
    return await source.read(await memberOffset(source, member), expected);
  }, storageMember);
  const bytes = await readMember(source, pickle, largestPickle);
  return unpickle(bytes, world).value as TorchValue;
}

async function refuseBigEndian(
  source: ByteSource,
  member: ZipMember | undefined,
): Promise<void> {
  if (!member || member.size > 16) return;
  const order = new TextDecoder().decode(await readMember(source, member));
  if (order.trim() === "big") {
    throw new UnsupportedError(
      `Cannot read ${source.name}: its byte order is big, culm reads little`,
    );
  }
}

/**
 * The form of before version 1.6: a magic number, a version, facts of the
 * system, the value and the list of storages, each a pickle; then each storage,
 * its length in 8 bytes before it.
 */
async function readLegacy(source: ByteSource): Promise<TorchValue> {
  const bytes = await source.read(0, Math.min(source.size, largestPickle));
  const storages = new Map<string, TorchStorage>();
  const places = new Map<string, number>();
  const world = worldOf(
    source,
    ({ key, dtype, length }) =>
      source.read(places.get(key)!, length * dtypeBytes(dtype)),
    (storage) => storages.set(storage.key, storage),
  );
  let position = 0;
  const next = (): PickleValue => {
    const { value, end } = unpickle(bytes, world, position);
    position = end;
    return value;
  };
  const isPickle = bytes[0] === 0x80;
  if (!isPickle || next() !== legacyMagic || next() !== legacyProtocol) {
    throw new FormatError(
      `Cannot read ${source.name}: it is no file of PyTorch's, neither zip nor the older form`,
    );
  }
  next();
  const value = next();
  const keys = next();
  for (const key of Array.isArray(keys) ? keys : []) {
    const storage = storages.get(key as string);
    if (!storage) continue;
    const length = new DataView(
      (await source.read(position, 8)).buffer,
    ).getBigInt64(0, true);
    const size = storage.length * dtypeBytes(storage.dtype);
    position += 8;
    if (length !== BigInt(storage.length) || size > source.size - position) {
      throw new FormatError(
        `Cannot read ${source.name}: storage ${storage.key} of ${storage.length} elements takes ${size} bytes, the file has ${length} elements in ${
          source.size - position
        } bytes`,
      );
    }
    places.set(storage.key, position);
    position += size;
  }
  const missing = storages.keys().find((key) => !places.has(key));
  if (missing !== undefined) {
    throw new FormatError(
      `Cannot read ${source.name}: it has no storage ${missing}`,
    );
  }
  return value as TorchValue;
}

/** What the pickle of a file of tensors may refer to; `found` is given each storage. */
function worldOf(
  source: ByteSource,
  read: ReadStorage,
  found: (storage: TorchStorage) => void,
): PickleWorld {
  return {
    name: source.name,
    names: new Set(storageClasses.keys()),
    functions: new Map<string, PickleFunction>([
      ["collections.OrderedDict", () => new Map()],
      [
        "torch._utils._rebuild_tensor_v2",
        (args) => rebuildTensor(source, args, read),
      ],
    ]),
    persistent: (id) => {
      const storage = storageOf(source, id);
      found(storage);
      return storage;
    },
  };
}

/** The most lists and dicts within each other: what leads to a tensor is its name. */
const deepest = 64;

/**
 * The tensors of a value, each by the names and indices that lead to it,
 * `fc1.weight`; the same one comes once.
 *
 * @throws {LimitError} where lists and dicts are nested more than 64 deep
 */
export function tensorsOf(value: TorchValue): Map<string, TorchTensor> {
  const tensors = new Map<string, TorchTensor>();
  const seen = new Set<TorchValue>();
  const waiting: [path: string, item: TorchValue, depth: number][] = [
    ["", value, 0],
  ];
  for (const [path, item, depth] of waiting) {
    if (depth > deepest) {
      throw new LimitError(
        `Cannot read a tensor that lies deeper than ${deepest} lists and dicts`,
      );
    }
    if (seen.has(item)) continue;
    seen.add(item);
    if (item instanceof TorchTensor) tensors.set(path, item);
    if (!Array.isArray(item) && !(item instanceof Map)) continue;
    for (const [key, each] of item.entries()) {
      const name = typeof key === "object" ? "?" : String(key);
      waiting.push([path === "" ? name : `${path}.${name}`, each, depth + 1]);
    }
  }
  return tensors;
}
