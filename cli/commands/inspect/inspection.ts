/**
 * What a model file's header says, put together.
 *
 * @module
 */
import { type ByteSource, CulmError } from "../../../mod.ts";
import {
  type ActivationChoice,
  describeModel,
  type GgufFile,
  type Model,
  readGguf,
  type TensorInfo,
  tokenizerIfAny,
} from "../../../gguf.ts";
import {
  estimateMemory,
  type MemoryEstimate,
  type MemoryOptions,
  type Packing,
  type Packings,
  packingsOf,
} from "../../../plan.ts";

/** Tensors that have something in common. */
export interface TensorGroup {
  /** What they have in common: a type, or one or more layers. */
  readonly name: string;
  /** How many there are. */
  readonly tensors: number;
  /** Their weights. */
  readonly parameters: number;
  /** Their bytes in the file. */
  readonly bytes: number;
}

/** Tensors of one type, and as what they are kept where they are computed with. */
export interface TypeGroup extends TensorGroup, Packings {}

/** What can be said of a model file without reading its weights. */
export interface Inspection {
  /** The file's name. */
  readonly name: string;
  /** How many files it is in. */
  readonly files: number;
  /** Its header. */
  readonly file: GgufFile;
  /** Its hyper-parameters, where culm can run it. */
  readonly model?: Model;
  /** Why culm cannot run it, where it cannot. */
  readonly obstacle?: string;
  /** What is odd about its vocabulary, and what is done about it. */
  readonly notes: readonly string[];
  /** All tensors together. */
  readonly total: TensorGroup;
  /** Tensors by type. */
  readonly byType: readonly TypeGroup[];
  /** Tensors by layer. */
  readonly byLayer: readonly TensorGroup[];
  /** What running it takes, where culm can run it. */
  readonly memory?: MemoryEstimate & MemoryOptions;
  /** How fast it is expected to be, where that was asked. */
  readonly speed?: string;
}

/**
 * Reads a header and sums it up.
 *
 * @throws {FormatError} where the header is damaged
 */
export async function inspectFile(
  source: ByteSource,
  options: MemoryOptions,
  activation?: ActivationChoice,
): Promise<Inspection> {
  const file = await readGguf(source);
  const tensors = [...file.tensors.values()];
  const { model, obstacle, notes } = describeIfRunnable(file, activation);
  const memoryOptions = {
    ...options,
    contextSize: options.contextSize || (model?.contextSize ?? 0),
  };
  return {
    name: source.name,
    files: source.parts?.length ?? 1,
    file,
    model,
    obstacle,
    notes,
    total: sumUp("all", tensors),
    byType: groupByType(tensors),
    byLayer: groupBy(
      tensors,
      (tensor) => tensor.name.match(/^blk\.\d+/)?.[0] ?? "other",
    ),
    memory: model &&
      { ...memoryOptions, ...estimateMemory(model, memoryOptions) },
  };
}

function describeIfRunnable(
  file: GgufFile,
  activation?: ActivationChoice,
): Pick<Inspection, "model" | "obstacle" | "notes"> {
  try {
    const model = describeModel(file, { activation });
    return {
      model,
      notes: [...file.notes ?? [], ...tokenizerIfAny(file)?.notes ?? []],
    };
  } catch (error) {
    if (!(error instanceof CulmError)) throw error;
    return { obstacle: error.message, notes: [] };
  }
}

/** The type in which most of a file's bytes are stored. */
export function mainType(file: GgufFile): string {
  const groups = groupBy([...file.tensors.values()], (tensor) => tensor.type);
  return groups.reduce(
    (a, b) => b.bytes > a.bytes ? b : a,
    sumUp("no tensors", []),
  ).name;
}

/** Tensors by type, those of the most bytes first. */
export function groupByType(tensors: readonly TensorInfo[]): TypeGroup[] {
  return [...Map.groupBy(tensors, ({ type }) => type)]
    .map(([type, members]) => {
      const packings = members.map(packingsOf);
      const sum = (of: "cpu" | "gpu"): Packing => ({
        layout: packings[0][of].layout,
        bytes: packings.reduce((sum, packing) => sum + packing[of].bytes, 0),
      });
      return { ...sumUp(type, members), cpu: sum("cpu"), gpu: sum("gpu") };
    })
    .sort((a, b) => b.bytes - a.bytes);
}

function groupBy(
  tensors: readonly TensorInfo[],
  nameOf: (tensor: TensorInfo) => string,
): TensorGroup[] {
  return [...Map.groupBy(tensors, nameOf)].map(([name, members]) =>
    sumUp(name, members)
  );
}

function sumUp(name: string, tensors: readonly TensorInfo[]): TensorGroup {
  const total = (valueOf: (tensor: TensorInfo) => number) =>
    tensors.reduce((sum, tensor) => sum + valueOf(tensor), 0);
  return {
    name,
    tensors: tensors.length,
    parameters: total(({ shape }) =>
      shape.reduce((product, side) => product * side, 1)
    ),
    bytes: total((tensor) => tensor.byteLength),
  };
}
