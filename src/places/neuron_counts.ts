/** How often each neuron fired, counted while the model runs. */
import type { Model } from "../model/model.ts";
import type { LayerProfile, Profile } from "../plan/profile.ts";

/** Whether neurons are counted: for nobody, for those who watch, or since the start. */
const states = { off: 0, watched: 1, whole: 2 } as const;

/** Bytes of the state, on a cache line of its own. */
const stateBytes = 64;

/** Counters of every neuron of every layer, in one buffer that threads may share. */
export class NeuronCounts {
  /** By layer, and by the file's neuron index. */
  readonly layers: readonly LayerProfile[];
  /** One of `states` */
  readonly #state: Int32Array;

  /** Lays the counters over `buffer`, which has `byteLength` bytes from `offset`. */
  constructor(model: Model, buffer?: ArrayBufferLike, offset = 0) {
    const { feedForwardSize } = model;
    const memory = buffer ?? new ArrayBuffer(NeuronCounts.byteLength(model));
    this.#state = new Int32Array(memory, offset, 1);
    const counts = (index: number) =>
      new Uint32Array(
        memory,
        offset + stateBytes + 4 * index * feedForwardSize,
        feedForwardSize,
      );
    this.layers = model.layers.map((_, layer) => ({
      gatePositive: counts(2 * layer),
      active: counts(2 * layer + 1),
    }));
  }

  static byteLength(model: Model): number {
    return stateBytes + 8 * model.layers.length * model.feedForwardSize;
  }

  /** Whether neurons are counted in the step that runs, or the next. */
  get isOn(): boolean {
    return this.#state[0] !== states.off;
  }

  /** Whether they have been counted since the start. */
  get isWhole(): boolean {
    return this.#state[0] === states.whole;
  }

  /** From here on counts all that runs. */
  countAll(): void {
    this.#state[0] = states.whole;
  }

  /** Counts while somebody watches; to be called between two steps. What is counted since the start goes on. */
  setWatched(isWatched: boolean): void {
    if (this.isWhole) return;
    this.#state[0] = isWatched ? states.watched : states.off;
  }

  /** Counts a token's neurons of one layer; number i of `gate` and `h` is neuron `ids[i]` of the file. */
  add(
    layer: number,
    gate: Float32Array,
    h: Float32Array,
    ids: Uint32Array,
  ): void {
    const { gatePositive, active } = this.layers[layer];
    for (let i = 0; i < gate.length; i++) {
      if (gate[i] > 0) gatePositive[ids[i]]++;
      if (h[i] !== 0) active[ids[i]]++;
    }
  }

  /** Takes the counts of another place in which the same neurons were counted. */
  copyFrom(other: NeuronCounts): void {
    this.#state.set(other.#state);
    other.layers.forEach(({ gatePositive, active }, i) => {
      this.layers[i].gatePositive.set(gatePositive);
      this.layers[i].active.set(active);
    });
  }

  /** A copy of the counts, over `tokens` tokens. */
  profile(tokens: number): Profile {
    return {
      tokens,
      layers: this.layers.map(({ gatePositive, active }) => ({
        gatePositive: gatePositive.slice(),
        active: active.slice(),
      })),
    };
  }
}
