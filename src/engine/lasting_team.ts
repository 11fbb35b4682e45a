/**
 * A team that outlasts its places: where one dies, another team takes over.
 *
 * @module
 */
import { replay } from "./replay.ts";
import type { SequenceOwner } from "./sequence.ts";
import type { NeuronCounts } from "../places/neuron_counts.ts";
import type { LayerCounts } from "../places/stats.ts";
import type { Team } from "../places/team.ts";

/** Starts a team of the same limits in place of one that failed for a reason. */
export type Restart = (reason: unknown) => Promise<Team>;

/** Teams that may fail one after another before that counts as the end. */
const mostRestarts = 3;

/** The team at hand, and how to come by the next. */
export class LastingTeam {
  #team: Team;
  #restart?: Restart;
  /** Counters of teams that are gone */
  readonly #pastCounts: LayerCounts[] = [];

  /** Begins with `team`; where `restart` is left out, it is the last. */
  constructor(
    team: Team,
    readonly owner: SequenceOwner,
    restart?: Restart,
  ) {
    this.#team = team;
    this.#restart = restart;
  }

  /** The team at hand. */
  get current(): Team {
    return this.#team;
  }

  /** Makes the team at hand the last: nobody takes over where it fails. */
  endHere(): void {
    this.#restart = undefined;
  }

  /** Counters of each place that was ever there. */
  get counts(): readonly LayerCounts[] {
    return [...this.#team.counts, ...this.#pastCounts];
  }

  /**
   * Lets the team do something. Where that fails, another team evaluates what
   * all sequences hold, and does it.
   *
   * @throws what the last of some teams failed by
   */
  async do<T>(act: (team: Team) => Promise<T>): Promise<T> {
    const { neuronCounts } = this.#team;
    let reason: unknown;
    for (let failures = 0; failures <= mostRestarts; failures++) {
      try {
        if (failures > 0) await this.#replace(reason, neuronCounts);
        return await act(this.#team);
      } catch (error) {
        reason = error;
        if (!this.#restart) break;
      }
    }
    throw reason;
  }

  async #replace(reason: unknown, neuronCounts?: NeuronCounts): Promise<void> {
    const old = this.#team, restart = this.#restart!;
    await old[Symbol.asyncDispose]();
    const team = this.#team = await restart(reason);
    this.#pastCounts.push(...old.counts);
    this.owner.pool.forgetPast();
    await replay(team, this.owner);
    // What was computed again is not counted again.
    if (neuronCounts) team.neuronCounts?.copyFrom(neuronCounts);
  }
}
