/** Norms of tokens' numbers on the device, apart from products. */
import type { Bound } from "../device/device.ts";
import { norm, normGrid, targets } from "../kernels/norms.ts";
import type { TokenRows } from "../memory/buffers.ts";
import type { KernelContext } from "./context.ts";

/** Numbers of a token that are normed by the same weights: `count` times `size` of them. */
export interface Segments {
  /** The first column */
  readonly first: number;
  readonly size: number;
  readonly count: number;
}

/** What is normed, by what, and where it goes. */
export interface NormOptions {
  readonly x: TokenRows;
  /** All together, or in turn each by itself; of the second kind where there are two */
  readonly segments: readonly [Segments, Segments?];
  /** Of the first kind, then of the second */
  readonly weight: Bound;
  readonly bias?: Bound;
  readonly epsilon: number;
  /** Whether around the mean */
  readonly isCentred?: boolean;
  /** 1 / rms of each token, `[tokens, 2]`, where others have a part in it */
  readonly scales?: GPUBuffer;
  /** Where it goes; x where left out */
  readonly out?: TokenRows;
  /** Whether it is added there, and x begins anew */
  readonly adds?: boolean;
}

/** A norm bound to what it reads and writes. */
export class Norm {
  readonly #pipeline: GPUComputePipeline;
  readonly #group: GPUBindGroup;
  readonly #segments: number;

  constructor(readonly context: KernelContext, options: NormOptions) {
    const { pipelines, uniforms, step, counters } = context;
    const { x, segments, weight, bias, scales, out, adds } = options;
    const [one, two = { first: 0, size: 0, count: 0 }] = segments;
    this.#segments = one.count + two.count;
    this.#pipeline = pipelines.get(norm, {
      centred: options.isCentred ?? false,
      biased: bias !== undefined,
      given: scales !== undefined,
      target_of: targets[!out ? "x" : adds ? "sum" : "out"],
    });
    // What the kernel does not use is bound to what it reads anyway, or to what it leaves alone.
    this.#group = pipelines.bind(norm, {
      step,
      params: uniforms.add(norm, {
        count: one.count,
        first: one.first,
        size: one.size,
        second_first: two.first,
        second_size: two.size,
        stride: x.stride,
        out_stride: out?.stride ?? 0,
        epsilon: options.epsilon,
      }),
      x: x.buffer,
      weight,
      bias: bias ?? weight,
      scales: scales ?? weight,
      out: out?.buffer ?? counters,
    });
  }

  encode(tokens: number): void {
    const { commands } = this.context;
    const grid = normGrid(this.#segments, tokens);
    commands.dispatch(this.#pipeline, this.#group, grid);
  }
}
