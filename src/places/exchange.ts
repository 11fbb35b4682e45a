/**
 * What places hand one another: each puts its own, waits until the others have,
 * and takes what it needs. Threads wait at a barrier; places that share a thread
 * put one after the other.
 */
import {
  type Exchange,
  exchangeSides,
  type Side,
  type Squares,
  type Stage,
} from "../plan/schedule.ts";
import { forbid } from "../sampling/token_mask.ts";
import type { ExchangeBuffers } from "./exchange_buffers.ts";
import {
  after,
  type CpuSidePlace,
  type ExchangePoint,
  forward,
  type GpuSidePlace,
} from "./place.ts";
import { pick, type Picked } from "./top_logits_row.ts";

/** What place number `index` does, the GPU's after the CPU's. A CPU place has done it at once, the GPU's perhaps later. */
type Action = (
  place: GpuSidePlace & CpuSidePlace,
  buffers: ExchangeBuffers,
  stage: Stage,
  index: number,
) => void | Promise<void>;

interface Handover {
  /** Done by the sides that the exchange goes from */
  readonly put: Action;
  /** Done by those that it goes to: before the barrier, and after it */
  readonly prepare?: Action;
  readonly take?: Action;
}

const putTerms: Action = (place, buffers, stage, index) =>
  buffers.putTerms(index, stage, place.terms(buffers.batch));

const residual: Handover = {
  put: (place, buffers, stage, index) => {
    // Those of all CPU places are equal.
    if (index > 0 && index < buffers.cpuPlaces) return;
    return after(
      place.residual(buffers.batch),
      (rows) => buffers.putResidual(stage, rows),
    );
  },
  take: (place, buffers, stage) =>
    place.setResidual(buffers.residual(stage), buffers.batch),
};

const squares = (of: Squares): Handover => ({
  put: (place, buffers, { layer }) =>
    place.putSquares(of, layer, buffers.batch, buffers.squares(of)),
  take: (place, buffers, { layer }) =>
    place.takeSquares(of, layer, buffers.batch, buffers.squares(of)),
});

const handovers: Readonly<Record<Exchange, Handover>> = {
  "inputs": {
    put: (place, buffers, stage) =>
      place.putInputs(stage, buffers.batch, buffers.inputs(stage)),
    take: (place, buffers, stage) =>
      place.takeInputs(stage, buffers.batch, buffers.inputs(stage)),
  },
  "all-reduce": {
    put: (place, buffers, stage, index) => {
      if (buffers.cpuPlaces > 1) putTerms(place, buffers, stage, index);
    },
    // Each adds them in the same order, so all residuals stay equal.
    take: (place, buffers, stage) => {
      const { batch } = buffers;
      const terms = buffers.cpuPlaces > 1
        ? buffers.terms(stage)
        : place.terms(batch);
      place.accumulate(terms, stage.merges, batch);
    },
  },
  "sum-to-gpu": {
    put: putTerms,
    // The device works while the CPU places compute.
    prepare: (place) => place.submit(),
    take: (place, buffers, stage) =>
      place.addToResidual(sumOf(buffers.terms(stage)), buffers.batch),
  },
  "residual-to-gpu": residual,
  "residual-to-cpu": residual,
  "qk-squares": squares("qk-squares"),
  "head-squares": squares("head-squares"),
  "neuron-squares": squares("neuron-squares"),
  "choices": {
    put: (place, buffers, _stage, index) => {
      // Those of all CPU places are equal.
      if (index === 0) place.putChoices(buffers.batch, buffers.choices);
    },
    take: (place, buffers, { layer }) =>
      place.takeChoices(layer, buffers.batch, buffers.choices),
  },
  "top-k": {
    put: (place, buffers, stage, index) =>
      after(
        place.neurons(buffers.batch),
        (rows) => buffers.putNeurons(index, stage, rows),
      ),
    take: (place, buffers, stage) =>
      place.keepAbove(buffers.batch, buffers.topKThresholds(stage)),
  },
  "masks": {
    put: (_place, { batch }, _stage, index) => {
      if (index > 0) return;
      const came = batch.masksCame();
      return came ? came.then(() => batch.settleMasks()) : batch.settleMasks();
    },
  },
  "candidates": {
    put: (place, buffers, _stage, index) =>
      buffers.putCandidates(index, pickedBy(place, buffers, index)),
    take: (place, buffers) =>
      place.reach?.(buffers.batch, buffers.leastPicked()),
  },
  "logits": {
    put: (place, buffers, _stage, index) => {
      // Those of all CPU places are equal.
      if (index === 0 && buffers.batch.stateCount > 0) {
        buffers.putStates(place.states(buffers.batch));
      }
      const isCpu = index < buffers.cpuPlaces;
      const picks = buffers.batch.pickedOfRows;
      if (isCpu && picks.some((k) => k > 0)) {
        buffers.putPicked(index, pickedBy(place, buffers, index));
      }
      if (isCpu && picks.every((k) => k > 0)) return;
      return after(
        place.logits(buffers.batch),
        (rows) => buffers.putLogits(index, rows),
      );
    },
  },
};

function pickedBy(
  place: CpuSidePlace,
  buffers: ExchangeBuffers,
  index: number,
): readonly Picked[] {
  const { batch } = buffers;
  const picked = place.pick?.(batch);
  if (picked) return picked;
  const masks = batch.masksOfRows;
  return batch.pickedOfRows.map((k, row) => {
    const logits = place.logits(batch)[row], mask = masks[row];
    if (!mask) return pick(logits, k);
    const allowed = logits.slice();
    forbid(mask, allowed, buffers.firstOf(index));
    return pick(allowed, k);
  });
}

/** Adds terms up, in their order, in the place of the first. */
function sumOf([sum, ...others]: readonly Float32Array[]): Float32Array {
  for (const term of others) {
    for (let i = 0; i < sum.length; i++) sum[i] += term[i];
  }
  return sum;
}

/** Exchanges in which those alone take part that hold parts of the stage. */
const ofParts: ReadonlySet<Exchange> = new Set(
  [
    "top-k",
    "qk-squares",
    "head-squares",
    "neuron-squares",
  ] satisfies Exchange[],
);

/** The sides whose places wait for one another at a point. */
export function barrierAt({ exchange, stage }: ExchangePoint): readonly Side[] {
  return ofParts.has(exchange) ? stage.sides : exchangeSides[exchange].barrier;
}

/** What a side does in an exchange, before its barrier and after it. */
interface Role {
  readonly put?: Action;
  readonly take?: Action;
}

function rolesOf(side: Side): ReadonlyMap<Exchange, Role> {
  const exchanges = Object.entries(handovers) as [Exchange, Handover][];
  return new Map(exchanges.map(([exchange, { put, prepare, take }]) => {
    const { from, to } = exchangeSides[exchange];
    return [exchange, {
      put: from.includes(side) ? put : prepare,
      take: to.includes(side) ? take : undefined,
    }];
  }));
}

const roles = { cpu: rolesOf("cpu"), gpu: rolesOf("gpu") };

export class Participant {
  /** Place number `index`; the GPU's number comes after the CPU's. */
  constructor(
    readonly side: Side,
    readonly place: CpuSidePlace | GpuSidePlace,
    readonly index: number,
    readonly buffers: ExchangeBuffers,
  ) {}

  /** The place's pass through the model. At every point {@linkcode put}, wait, then {@linkcode take}. */
  forward(schedule: readonly Stage[]): Generator<ExchangePoint, void, void> {
    const { batch, options: { sparsity } } = this.buffers;
    return forward(schedule, this.side, this.place, batch, sparsity);
  }

  /** Puts what others take. A CPU place has done so at once. */
  put(point: ExchangePoint): void | Promise<void> {
    return this.#act(this.#roleAt(point)?.put, point);
  }

  /** Takes what others have put. A CPU place has done so at once. */
  take(point: ExchangePoint): void | Promise<void> {
    return this.#act(this.#roleAt(point)?.take, point);
  }

  #roleAt({ exchange, stage }: ExchangePoint): Role | undefined {
    const { side } = this;
    return ofParts.has(exchange) && !stage.sides.includes(side)
      ? undefined
      : roles[side].get(exchange);
  }

  #act(
    act: Action | undefined,
    { stage }: ExchangePoint,
  ): void | Promise<void> {
    const place = this.place as GpuSidePlace & CpuSidePlace;
    return act?.(place, this.buffers, stage, this.index);
  }
}
