/** Which neurons fire, step by step, for those who watch. */
import { PlaceError } from "../errors.ts";
import { lengthOf } from "../model/index_set.ts";
import type { StepLoop } from "./step_loop.ts";
import type { Team } from "../places/team.ts";
import { type NeuronOrder, neuronOrder } from "../plan/neuron_order.ts";
import type { LayerProfile, Profile } from "../plan/profile.ts";

/** How often each neuron fired in the tokens of some steps. */
export interface FiredNeurons extends Profile {
  /** Each layer's neurons by place and heat; the same object as long as that stays the same */
  readonly orders: readonly NeuronOrder[];
}

/** Counts neurons as long as it is open: close it with `using`. */
export class NeuronWatch implements Disposable {
  readonly #loop: StepLoop;
  readonly #watches: Set<NeuronWatch>;
  #tokens = 0;
  #before!: Profile;
  #team?: Team;
  #orders: readonly NeuronOrder[] = [];

  private constructor(loop: StepLoop, watches: Set<NeuronWatch>) {
    this.#loop = loop;
    this.#watches = watches;
  }

  /** Counts from the next step on; `watches` are all of the engine. */
  static async start(
    loop: StepLoop,
    watches: Set<NeuronWatch>,
  ): Promise<NeuronWatch> {
    const watch = new NeuronWatch(loop, watches);
    watches.add(watch);
    try {
      await loop.between((team) => {
        const counts = countsOf(team);
        counts.setWatched(true);
        watch.#tokens = loop.tokens;
        watch.#before = counts.profile(loop.tokens);
        return Promise.resolve();
      });
    } catch (error) {
      watches.delete(watch);
      throw error;
    }
    return watch;
  }

  /**
   * What fired since this was called last, in whole steps; undefined where no
   * token was evaluated.
   *
   * @throws {PlaceError} where nothing can be evaluated any more
   */
  async next(): Promise<FiredNeurons | undefined> {
    if (this.#loop.tokens === this.#tokens) return undefined;
    return await this.#loop.between((team) => {
      const now = countsOf(team).profile(this.#loop.tokens);
      const { tokens, layers } = this.#before;
      this.#before = now;
      this.#tokens = now.tokens;
      return Promise.resolve({
        tokens: now.tokens - tokens,
        layers: now.layers.map((layer, i) => difference(layer, layers[i])),
        orders: this.#ordersOf(team),
      });
    });
  }

  /** Counts no more, unless somebody else watches. */
  [Symbol.dispose](): void {
    this.#watches.delete(this);
    if (this.#watches.size > 0) return;
    this.#loop.team.current.neuronCounts?.setWatched(false);
  }

  #ordersOf(team: Team): readonly NeuronOrder[] {
    if (this.#team === team) return this.#orders;
    this.#team = team;
    const { plan, model } = team.options;
    return this.#orders = model.layers.map((_, layer) =>
      neuronOrder(plan, layer, hotRows(team, layer))
    );
  }
}

/** How many of its neurons each CPU place of a team has read without asking. */
function hotRows(team: Team, layer: number): number[] {
  return team.options.plan.places.map(({ parts }, i) => {
    const counts = team.counts[i];
    const neurons = counts.get(layer, "neurons");
    return neurons > 0
      ? Math.round(
        lengthOf(parts[layer].neurons) * counts.get(layer, "hot") / neurons,
      )
      : 0;
  });
}

function countsOf({ neuronCounts }: Team) {
  if (neuronCounts) return neuronCounts;
  throw new PlaceError("Cannot watch neurons: these places count none");
}

function difference(now: LayerProfile, before: LayerProfile): LayerProfile {
  const since = (name: keyof LayerProfile) =>
    now[name].map((count, i) => count - before[name][i]);
  return { gatePositive: since("gatePositive"), active: since("active") };
}
