/**
 * What places hand one another, exchange by exchange: each puts its own, waits
 * until the others have, and takes what it needs. Threads wait at a barrier;
 * places that share a thread put one after the other.
 *
 * @module
 */
import {
  type Exchange,
  exchangeSides,
  type Side,
  type Stage,
} from "../plan/schedule.ts";
import type { ExchangeBuffers } from "./exchange_buffers.ts";
import {
  type CpuSidePlace,
  type ExchangePoint,
  forward,
  type GpuSidePlace,
} from "./place.ts";

/** A place of each side. */
interface SidePlace {
  readonly cpu: CpuSidePlace;
  readonly gpu: GpuSidePlace;
}

/** When it has put or taken: a CPU place at once, the GPU's perhaps later. */
interface Done {
  readonly cpu: void;
  readonly gpu: void | Promise<void>;
}

/** What place number `index` does in an exchange; the GPU's number comes after the CPU's. */
type Action<S extends Side> = (
  place: SidePlace[S],
  buffers: ExchangeBuffers,
  stage: Stage,
  index: number,
) => Done[S];

/** What a place does before and after the barrier. */
interface Actions<S extends Side> {
  readonly put?: Action<S>;
  readonly take?: Action<S>;
}

const exchanges: Readonly<
  Record<Exchange, { readonly [S in Side]: Actions<S> }>
> = {
  "all-reduce": {
    cpu: {
      put: (place, buffers, stage, index) => {
        if (buffers.options.plan.places.length > 1) {
          putPartial(place, buffers, stage, index);
        }
      },
      take: addPartials,
    },
    gpu: {},
  },
  "sum-to-gpu": {
    cpu: { put: putPartial },
    gpu: {
      // The device works while the CPU places compute.
      put: (place) => place.submit(),
      take: (place, buffers, stage) =>
        place.addToResidual(sumOf(buffers.partials(stage)), buffers.batch),
    },
  },
  "residual-to-gpu": {
    cpu: {
      put: (place, buffers, _stage, index) => {
        if (index === 0) buffers.putResidual(place.residual(buffers.batch));
      },
    },
    gpu: { take: takeResidual },
  },
  "residual-to-cpu": {
    cpu: { take: takeResidual },
    gpu: {
      put: async (place, buffers) =>
        buffers.putResidual(await place.residual(buffers.batch)),
    },
  },
  "top-k": {
    cpu: {
      put: (place, buffers, stage, index) =>
        buffers.putNeurons(index, stage, place.neurons(buffers.batch)),
      take: keepTop,
    },
    gpu: {
      put: async (place, buffers, stage, index) =>
        buffers.putNeurons(index, stage, await place.neurons(buffers.batch)),
      take: keepTop,
    },
  },
  "logits": {
    cpu: {
      put: (place, buffers, _stage, index) =>
        buffers.putLogits(index, place.logits(buffers.batch)),
    },
    gpu: {
      put: async (place, buffers, _stage, index) =>
        buffers.putLogits(index, await place.logits(buffers.batch)),
    },
  },
};

function putPartial(
  place: CpuSidePlace,
  buffers: ExchangeBuffers,
  stage: Stage,
  index: number,
): void {
  buffers.putPartial(index, stage, place.partial(buffers.batch));
}

/** Each place adds the partials in the same order, so all residuals stay equal. */
function addPartials(
  place: CpuSidePlace,
  buffers: ExchangeBuffers,
  stage: Stage,
  index: number,
): void {
  const { batch } = buffers;
  const own = place.partial(batch);
  buffers.partials(stage).forEach((partial, i) =>
    place.accumulate(i === index ? own : partial, batch)
  );
}

/** Adds the partials of all places up, in the same order, in the place of the first. */
function sumOf([sum, ...others]: readonly Float32Array[]): Float32Array {
  for (const partial of others) {
    for (let i = 0; i < sum.length; i++) sum[i] += partial[i];
  }
  return sum;
}

function takeResidual(
  place: CpuSidePlace | GpuSidePlace,
  buffers: ExchangeBuffers,
): void {
  place.setResidual(buffers.residual, buffers.batch);
}

function keepTop(
  place: CpuSidePlace | GpuSidePlace,
  buffers: ExchangeBuffers,
): void {
  place.keepAbove(buffers.batch, buffers.topKThresholds());
}

/** The sides whose places wait for one another at a point. */
export function barrierAt({ exchange, stage }: ExchangePoint): readonly Side[] {
  return exchange === "top-k" ? stage.sides : exchangeSides[exchange].barrier;
}

/** A place that takes part in a step. */
export class Participant<S extends Side> {
  /** Place number `index`; the GPU's number comes after the CPU's. */
  constructor(
    readonly side: S,
    readonly place: SidePlace[S],
    readonly index: number,
    readonly buffers: ExchangeBuffers,
  ) {}

  /** The place's pass through the model. At every point {@linkcode put}, wait, then {@linkcode take}. */
  forward(
    schedule: readonly Stage[],
  ): Generator<ExchangePoint, void, void> {
    const { batch, options: { sparsity } } = this.buffers;
    return forward(schedule, this.side, this.place, batch, sparsity);
  }

  /** Puts what others take. */
  put(point: ExchangePoint): Done[S] {
    return this.#act("put", point);
  }

  /** Takes what others have put. */
  take(point: ExchangePoint): Done[S] {
    return this.#act("take", point);
  }

  #act(when: keyof Actions<S>, { exchange, stage }: ExchangePoint): Done[S] {
    const isOut = exchange === "top-k" && !stage.sides.includes(this.side);
    const actions: Actions<S> = exchanges[exchange][this.side];
    return isOut
      ? undefined
      : actions[when]?.(this.place, this.buffers, stage, this.index);
  }
}
