/** Texts on every kind of place, whose logits are compared with the reference's. */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import type { CacheType } from "../../src/places/cache_type.ts";
import type { Team } from "../../src/places/team.ts";
import { randomModel, type RandomModelOptions } from "./random_model.ts";
import { seededRandom } from "./seeded_random.ts";
import { type MakeTeam, referenceTeam } from "./teams.ts";

/**
 * Relative to the logits' own spread: f16 KV, or weights times 8-bit
 * activations. Between two steps of q8_0, a key may fall on either.
 */
function tolerance(options: RandomModelOptions, team: string): number {
  const float = !options.typeOf &&
    ["F32", "F16", "BF16"].includes(options.type ?? "F32");
  if (!float) return 0.08;
  if (team.includes("q8_0")) return 5e-3;
  return team.includes("threads") ? 1e-2 : 1e-4;
}

/** A prompt, single tokens, then two forks and a stranger in mixed steps. */
export async function runTexts(
  team: Team,
  vocabSize: number,
): Promise<Float32Array> {
  await using engine = new Engine(team, vocabSize);
  const random = seededRandom(7);
  const ids = (n: number) =>
    Array.from({ length: n }, () => Math.floor(random() * vocabSize));
  const rows: Float32Array[] = [];
  using first = engine.createSequence();
  rows.push(...await engine.evaluate(first, ids(21), "all"));
  for (let i = 0; i < 3; i++) {
    rows.push(...await engine.evaluate(first, ids(1)));
  }
  using fork = first.fork();
  fork.truncate(13);
  using stranger = engine.createSequence();
  const together = await Promise.all([
    engine.evaluate(first, ids(12), "all"),
    engine.evaluate(fork, ids(2), "last"),
    engine.evaluate(stranger, ids(1), "all"),
    engine.evaluate(stranger, ids(6), "none"),
  ]);
  rows.push(...together.flat());
  rows.push(...await engine.evaluate(stranger, ids(1)));
  rows.push(...await engine.evaluate(fork, ids(1)));
  const all = new Float32Array(rows.length * vocabSize);
  rows.forEach((row, i) => all.set(row, i * vocabSize));
  return all;
}

/** Root mean square of the difference, relative to that of `expected`. */
export function distance(actual: Float32Array, expected: Float32Array): number {
  assert.equal(actual.length, expected.length);
  let difference = 0, size = 0;
  expected.forEach((value, i) => {
    difference += (actual[i] - value) ** 2;
    size += value ** 2;
  });
  assert(size > 0.01 * expected.length, "the logits are too small to tell");
  return Math.sqrt(difference / size);
}

/** Runs the texts on every team, and on the reference. */
export async function comparePlaces(
  teams: Record<string, MakeTeam>,
  options: RandomModelOptions,
  sparsity: Sparsity,
  cacheType: CacheType = "f32",
): Promise<void> {
  const made = await randomModel(options);
  const { vocabSize } = made.model;
  const plan = splitEvenly(made.model, 1);
  const reference = await referenceTeam(made, plan, sparsity, cacheType);
  const expected = await runTexts(reference, vocabSize);
  for (const [name, makeTeam] of Object.entries(teams)) {
    const actual = await runTexts(await makeTeam(made, sparsity), vocabSize);
    const error = distance(actual, expected);
    const limit = tolerance(options, name);
    assert(
      error < limit,
      `${name}: logits differ by ${error}, the limit is ${limit}`,
    );
  }
}
