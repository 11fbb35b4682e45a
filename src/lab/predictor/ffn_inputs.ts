import { LimitError } from "../../errors.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Model } from "../../model/model.ts";

/** Inputs of the feed-forward layers, kept for making a predictor. */
export interface States {
  /** Tokens of the text */
  readonly tokens: number;
  /** By layer, `[tokens, hiddenSize]` */
  readonly layers: readonly Float32Array[];
}

/** Bytes of states that are kept, at most. */
const mostBytes = 8 * 2 ** 30;

/**
 * Runs a text, in stretches that each begin with an empty context, and keeps
 * what the feed-forward layers read. The model must have been loaded with
 * `keepFfnInputs`, and nothing else may run on it meanwhile.
 *
 * @throws {LimitError} where the states would take more than 8 GiB
 * @param onStep Told how many tokens have been run.
 */
export async function collectStates(
  engine: Engine,
  { layers, hiddenSize }: Model,
  windows: readonly (readonly number[])[],
  signal?: AbortSignal,
  onStep: (done: number) => void = () => {},
): Promise<States> {
  const tokens = windows.reduce((sum, { length }) => sum + length, 0);
  const bytes = 4 * tokens * hiddenSize * layers.length;
  if (bytes > mostBytes) {
    throw new LimitError(
      `Cannot keep what ${layers.length} layers read over ${tokens} tokens: it takes ${bytes} bytes, the limit is ${mostBytes}`,
    );
  }
  const states: States = {
    tokens,
    layers: layers.map(() => new Float32Array(tokens * hiddenSize)),
  };
  let done = 0;
  for (const window of windows) {
    using sequence = engine.createSequence();
    for (let first = 0; first < window.length; first += engine.batchSize) {
      const ids = window.slice(first, first + engine.batchSize);
      await engine.evaluate(sequence, ids, "none", signal);
      states.layers.forEach((values, layer) =>
        ids.forEach((_, t) =>
          values.set(
            engine.ffnInputs.row(layer, t),
            (done + t) * hiddenSize,
          )
        )
      );
      done += ids.length;
      onStep(done);
    }
  }
  return states;
}
