/**
 * How fast and how large a machine's CPU and GPU are, as the planner sees them:
 * measured where it runs, or stated for one that is elsewhere.
 */

/** A CPU, or a thread of one. Rates count all threads together, in bytes a millisecond. */
export interface CpuRates {
  /** Rows that follow one another */
  readonly stream: number;
  /** Rows picked here and there */
  readonly pick: number;
}

/** What a token takes a CPU. What is not stated is taken to be as the rates are, and to take no time beside. */
export interface Cpu extends CpuRates {
  /** Rows of down that are added up, each with its neuron's h; as `pick` where left out */
  readonly sum?: number;
  /** Keys and values; as `stream` where left out */
  readonly cache?: number;
  /** The output head; as `stream` where left out */
  readonly head?: number;
  /**
   * What a layer takes beside what is read of it, in ms: norms, activations, the
   * start of kernels, handing over and waiting; 0 where left out
   */
  readonly layerMs?: number;
}

/** How fast a CPU place is, and with which kernels, measured on its own weights. */
export interface Rates extends Pick<Cpu, "stream" | "pick" | "sum"> {
  /** Of a prompt's products in tiles, from a cache: bytes of rows times tokens */
  readonly tiles: number;
  /**
   * How fast products of picked rows are from a cache, in parts of `tiles`: the
   * share of a prompt's products (rows times tokens) below which computing those
   * that are needed is faster than computing all
   */
  readonly scatter: number;
  /** Rows that one token streams side by side: as many as turned out faster */
  readonly rowsAtOnce: 4 | 12;
  /** In which numbers products of 4-bit weights with one token are summed first */
  readonly rowSums: "i16" | "i32";
  /** The same with several tokens */
  readonly tileSums: "i16" | "i32";
}

/** The rates of all places together. */
export function sumOfRates(
  rates: readonly Rates[],
): Pick<Cpu, "stream" | "pick" | "sum"> {
  const total = (of: (place: Rates) => number) =>
    rates.reduce((sum, place) => sum + of(place), 0);
  return {
    stream: total(({ stream }) => stream),
    pick: total(({ pick }) => pick),
    sum: total(({ pick, sum = pick }) => sum),
  };
}

/** A GPU. Rates count bytes a millisecond. */
export interface GpuRates {
  /** Weights, keys and values that its kernels read; a row is long enough to be picked at the same rate */
  readonly stream: number;
  /** What starting a kernel takes, in ms */
  readonly dispatch: number;
  /** What waiting for a result takes, in ms, its bytes left out */
  readonly readBack: number;
  /** Bytes that go to the device or come from it */
  readonly transfer: number;
  /** Bytes that may be taken on the device */
  readonly memory: number;
}

/** A machine to plan for. */
export interface Machine {
  /** Its CPU, which every machine has */
  readonly cpu: Cpu;
  /** Its GPU, where there is one to use */
  readonly gpu?: GpuRates;
}

/** A machine that is described and not measured. */
export interface KnownMachine extends Machine {
  /** CPU and GPU, for people */
  readonly description: string;
}

/** Bytes a millisecond of a bandwidth as vendors state it, in GB/s. */
const gigabytes = (perSecond: number) => perSecond * 1e6;

/**
 * The share of a stated bandwidth that kernels are taken to reach, CPU and GPU
 * alike. It is one number for all machines and fitted to none: llama.cpp's
 * published runs of Bamboo-7B reach 0.77 (CPU alone, 14.5 GB a token) and 0.83
 * (GPU alone), culm's kernels 0.8 to 0.9 of a plain read where it was measured.
 */
const reached = 0.8;

/** Picked rows cost 1.7 to 3 streamed ones on the CPUs that were measured. */
const pickShare = 0.5;

/** Memory of a card that its driver and a display keep for themselves. */
const reserved = 512 * 2 ** 20;

function cpu(perSecond: number): CpuRates {
  const stream = reached * gigabytes(perSecond);
  return { stream, pick: pickShare * stream };
}

/**
 * A card by its bandwidth and its link's, in GB/s, and its memory in GiB. Waits
 * are taken to be those that were measured or published for WebGPU: 0.1 ms for a
 * synchronous read-back, and 24 µs for a dispatch, the low end for Vulkan.
 */
function gpu(perSecond: number, link: number, memory: number): GpuRates {
  return {
    stream: reached * gigabytes(perSecond),
    transfer: reached * gigabytes(link),
    dispatch: 0.024,
    readBack: 0.1,
    memory: memory * 2 ** 30 - reserved,
  };
}

/** Both CPUs: two channels of DDR5-5600 (ark.intel.com, "Max Memory Bandwidth"). */
const ddr5 = cpu(89.6);

/** What a GPU is taken to be where there is none: a middling card, RTX 3060: 360 GB/s, 12 GB, PCIe 4.0 x16. */
export const assumedGpu: GpuRates = gpu(360, 31.5, 12);

/**
 * The machines of Bamboo-7B's published figures, by name. Bandwidths and sizes
 * are the vendors': RTX 2080 Ti 616 GB/s, 11 GB, PCIe 3.0 x16 (15.75 GB/s);
 * RTX 4090 1008 GB/s, 24 GB, PCIe 4.0 x16 (31.5 GB/s).
 */
export const knownMachines: Readonly<Record<string, KnownMachine>> = {
  "rtx-2080ti": {
    description: "i7-13700 + RTX 2080 Ti 11 GB",
    cpu: ddr5,
    gpu: gpu(616, 15.75, 11),
  },
  "rtx-4090": {
    description: "i9-13900K + RTX 4090 24 GB",
    cpu: ddr5,
    gpu: gpu(1008, 31.5, 24),
  },
  "i9-13900k": { description: "i9-13900K, no GPU", cpu: ddr5 },
};
