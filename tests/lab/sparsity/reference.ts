/**
 * What neurons do on the reference place, told token by token.
 *
 * @module
 */
import { Engine } from "../../../src/engine/engine.ts";
import type { InlineTeam } from "../../../src/places/inline_team.ts";
import { splitEvenly } from "../../../src/plan/plan.ts";
import type { Sparsity } from "../../../src/plan/sparsity.ts";
import type { RandomModel } from "../../helpers/random_model.ts";
import { referenceTeam } from "../../helpers/teams.ts";

/** An engine of one reference place. */
export async function referenceEngine(
  made: RandomModel,
  sparsity: Sparsity,
): Promise<Engine> {
  const team = await referenceTeam(made, splitEvenly(made.model, 1), sparsity);
  return new Engine(team, made.model.vocabSize);
}

/** Of each layer and token the neurons whose h is not zero. */
export async function liveNeurons(
  made: RandomModel,
  ids: readonly number[],
): Promise<Set<number>[][]> {
  const { model } = made;
  const plan = splitEvenly(model, 1);
  const team = await referenceTeam(made, plan, { mode: "exact" }) as InlineTeam;
  const [place] = team.sides.cpu;
  const live: Set<number>[][] = model.layers.map(() => []);
  const down = place.down.bind(place);
  place.down = (layer, batch) => {
    const squares = new Float32Array(batch.length * model.feedForwardSize);
    place.putSquares("neuron-squares", layer, batch, squares);
    for (let t = 0; t < batch.length; t++) {
      const first = t * model.feedForwardSize;
      const own = squares.subarray(first, first + model.feedForwardSize);
      live[layer].push(new Set(own.keys().filter((j) => own[j] > 0)));
    }
    down(layer, batch);
  };
  await using engine = new Engine(team, model.vocabSize);
  using sequence = engine.createSequence();
  for (const id of ids) await engine.evaluate(sequence, [id], "none");
  return live;
}
