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
  /** By layer, for how many tokens each expert was chosen, `[expertCount]`; empty where there is no router */
  readonly experts: readonly Uint32Array[];
  /** One of `states` */
  readonly #state: Int32Array;

  /** Lays the counters over `buffer`, which has `byteLength` bytes from `offset`. */
  constructor(model: Model, buffer?: ArrayBufferLike, offset = 0) {
    const { feedForwardSize, layers } = model;
    const memory = buffer ?? new ArrayBuffer(NeuronCounts.byteLength(model));
    this.#state = new Int32Array(memory, offset, 1);
    let next = offset + stateBytes;
    const counts = (length: number) => {
      const view = new Uint32Array(memory, next, length);
      next += view.byteLength;
      return view;
    };
    this.layers = layers.map(() => ({
      gatePositive: counts(feedForwardSize),
      active: counts(feedForwardSize),
    }));
    this.experts = layers.map(() => counts(routedExperts(model)));
  }

  static byteLength(model: Model): number {
    const { layers, feedForwardSize } = model;
    return stateBytes +
      4 * layers.length * (2 * feedForwardSize + routedExperts(model));
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

  /** Counts that an expert was chosen for so many tokens. */
  addExpert(layer: number, expert: number, tokens: number): void {
    this.experts[layer][expert] += tokens;
  }

  /** Takes the counts of another place in which the same neurons were counted. */
  copyFrom(other: NeuronCounts): void {
    this.#state.set(other.#state);
    other.layers.forEach(({ gatePositive, active }, i) => {
      this.layers[i].gatePositive.set(gatePositive);
      this.layers[i].active.set(active);
    });
    other.experts.forEach((counts, i) => this.experts[i].set(counts));
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

function routedExperts({ routing, expertCount }: Model): number {
  return routing ? expertCount : 0;
}
