/** How often each neuron fired, counted while the model runs. */
import type { Model } from "../model/model.ts";
import type { LayerProfile, Profile } from "../plan/profile.ts";

/** Counters of every neuron of every layer, in one buffer that threads may share. */
export class NeuronCounts {
  /** By layer, and by the file's neuron index. */
  readonly layers: readonly LayerProfile[];

  /** Lays the counters over `buffer`, which has `byteLength` bytes from `offset`. */
  constructor(model: Model, buffer?: ArrayBufferLike, offset = 0) {
    const { feedForwardSize } = model;
    const memory = buffer ?? new ArrayBuffer(NeuronCounts.byteLength(model));
    const counts = (index: number) =>
      new Uint32Array(
        memory,
        offset + 4 * index * feedForwardSize,
        feedForwardSize,
      );
    this.layers = model.layers.map((_, layer) => ({
      gatePositive: counts(2 * layer),
      active: counts(2 * layer + 1),
    }));
  }

  static byteLength(model: Model): number {
    return 8 * model.layers.length * model.feedForwardSize;
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
