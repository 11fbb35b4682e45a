/** A layer's router on the device: scores of the experts, and which of them each token chooses. */
import type { Model } from "../../../model/model.ts";
import { chooseExperts, chooseExpertsGrid } from "../kernels/experts.ts";
import { routesAt } from "../kernels/step_words.ts";
import type { TokenRows } from "../memory/buffers.ts";
import type { DeviceMatrix } from "../memory/matrix.ts";
import type { KernelContext } from "./context.ts";
import { type Experts, Product, type ProductOptions } from "./product.ts";

/** How tokens choose among a model's experts, of whom a layer has `count`; undefined where there is no router. */
export function expertsOf(
  model: Model,
  count: number,
): Experts | undefined {
  const { routing } = model;
  return routing && { count, used: routing.used, routes: routesAt(model) };
}

export class Router {
  readonly #scores: Product;
  readonly #pipeline: GPUComputePipeline;
  readonly #group: GPUBindGroup;

  /** Reads what `input` says, and leaves scores in `scores` on the way. */
  constructor(
    readonly context: KernelContext,
    model: Model,
    matrix: DeviceMatrix,
    input: Pick<ProductOptions, "x" | "norm" | "factor" | "bias">,
    scores: TokenRows,
  ) {
    const { pipelines, uniforms, step } = context;
    const { routing, expertCount } = model;
    const { used, shared = 0, scale, scoring, isNormalised } = routing!;
    this.#scores = new Product(context, matrix, { ...input, out: scores });
    this.#pipeline = pipelines.get(chooseExperts, {
      sigmoid: scoring === "sigmoid",
      normalised: isNormalised,
    });
    this.#group = pipelines.bind(chooseExperts, {
      step,
      params: uniforms.add(chooseExperts, {
        experts: expertCount - shared,
        used: used - shared,
        shared_count: shared,
        stride: scores.stride,
        routes: routesAt(model),
        scale,
      }),
      scores: scores.buffer,
    });
  }

  encode(tokens: number): void {
    this.#scores.encode(tokens);
    const grid = chooseExpertsGrid(tokens);
    this.context.commands.dispatch(this.#pipeline, this.#group, grid);
  }

  bytes(tokens: number): number {
    return this.#scores.bytes(tokens);
  }
}
