/**
 * A GPU that is lost takes its keys and values along. Whatever has been
 * evaluated, forked and cut before, the text goes on as if nothing had happened.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { GpuError } from "../../src/errors.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import type { Sequence } from "../../src/engine/sequence.ts";
import { scatteredShare } from "../helpers/hybrid_plans.ts";
import { randomModel } from "../helpers/random_model.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { cpuTeam, hybridTeam } from "../helpers/teams.ts";

const sparsity = { mode: "exact" } as const;
const made = await randomModel({ type: "F16", layerCount: 2, seed: 4 });
const { model } = made;

/** Evaluates, forks, cuts and drops at random, several sequences at a time. */
async function act(engine: Engine, seed: number): Promise<number[]> {
  const random = seededRandom(seed);
  const below = (n: number) => Math.floor(random() * n);
  let sequences: Sequence[] = [engine.createSequence()];
  const logits: number[] = [];
  for (let i = 0; i < 14; i++) {
    const sequence = sequences[below(sequences.length)];
    const kind = below(5);
    if (kind === 0 && sequences.length < 4) sequences.push(sequence.fork());
    else if (kind === 1) sequence.truncate(below(sequence.length + 1));
    else if (kind === 2 && sequences.length > 1) {
      sequence.drop();
      sequences = sequences.filter((other) => other !== sequence);
    }
    const rows = await Promise.all(sequences.map((sequence) => {
      const count = Math.min(1 + below(21), 96 - sequence.length);
      const ids = Array.from({ length: count }, () => below(model.vocabSize));
      if (count === 0) return [];
      return kind === 3
        ? engine.evaluateTop(sequence, ids, 5).then(({ logits }) => [logits])
        : engine.evaluate(sequence, ids);
    }));
    for (const row of rows.flat()) logits.push(...row);
  }
  for (const sequence of sequences) sequence.drop();
  assert.equal(engine.pagesTaken, 0);
  return logits;
}

for (let seed = 1; seed <= 12; seed++) {
  Deno.test(`a GPU lost in the middle changes nothing, seed ${seed}`, async () => {
    const cpu = () => cpuTeam(made, splitEvenly(model, 2), sparsity);
    await using alone = new Engine(await cpu(), model.vocabSize);
    const expected = await act(alone, seed);
    const reasons: GpuError[] = [];
    const all = { start: 0, end: model.vocabSize };
    const half = scatteredShare(model, 0.5);
    const gpu = seed % 2 === 0 ? half : { ...half, vocab: all };
    await using engine = new Engine(
      await hybridTeam(made, gpu, sparsity, 2 * seed),
      model.vocabSize,
      {
        restart: (reason) => {
          reasons.push(reason as GpuError);
          return cpu();
        },
      },
    );
    const actual = await act(engine, seed);
    assert.deepEqual(reasons.map(({ message }) => message), [
      "GPU lost: by the test",
    ]);
    assert.equal(engine.gpu, undefined);
    assert.equal(actual.length, expected.length);
    const worst = Math.max(
      ...actual.map((value, i) => Math.abs(value - expected[i])),
    );
    assert(worst < 1e-4, `off by ${worst}`);
    const { tokens, layers: [layer] } = engine.stats();
    assert(layer.neurons >= tokens * model.feedForwardSize);
  });
}

Deno.test("without anybody to go on, a lost GPU is an error", async () => {
  const team = await hybridTeam(made, scatteredShare(model, 0.5), sparsity, 1);
  await using engine = new Engine(team, model.vocabSize);
  using sequence = engine.createSequence();
  await assert.rejects(engine.evaluate(sequence, [1]), GpuError);
});
