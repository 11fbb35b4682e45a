/**
 * Sequences of many pages, cut and forked, in every type of the cache: against
 * the reference with the same type.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { type CacheType, cacheTypes } from "../../src/places/cache_type.ts";
import { startTeam } from "../../src/places/start.ts";
import { ReferencePlace } from "../../src/places/reference/reference_place.ts";
import { InlineTeam } from "../../src/places/inline_team.ts";
import type { Team } from "../../src/places/team.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { hasAdapter } from "../helpers/adapter.ts";
import { gpuTeam } from "../helpers/gpu_teams.ts";
import { type RandomModel, randomModel } from "../helpers/random_model.ts";
import { nextRates } from "../helpers/rates.ts";
import { seededRandom } from "../helpers/seeded_random.ts";

const limits = { tokens: 24, contextSize: 640 };
const sparsity = { mode: "exact" } as const;

async function reference(
  { model, source }: RandomModel,
  cacheType: CacheType,
): Promise<Team> {
  const plan = splitEvenly(model, 1);
  const [part] = plan.places;
  const place = await ReferencePlace.load(
    model,
    part,
    sparsity,
    source,
    { cacheType },
  );
  return new InlineTeam("reference", {
    model,
    plan,
    sparsity,
    limits,
    cacheType,
  }, {
    cpu: [place],
  });
}

/** Two forks of a long text go on from far apart, one cut within a page, one where a page ends. */
async function logitsOf(team: Team, vocabSize: number): Promise<number[]> {
  await using engine = new Engine(team, vocabSize);
  const random = seededRandom(3);
  const ids = (n: number) =>
    Array.from({ length: n }, () => Math.floor(random() * vocabSize));
  using text = engine.createSequence();
  const rows = await engine.evaluate(text, ids(601));
  using within = text.fork(), border = text.fork();
  within.truncate(555);
  border.truncate(128);
  const together = await Promise.all([
    engine.evaluate(within, ids(7), "all"),
    engine.evaluate(text, ids(3), "all"),
    engine.evaluate(border, ids(40)),
  ]);
  rows.push(...together.flat());
  rows.push(...await engine.evaluate(text, ids(1)));
  rows.push(...await engine.evaluate(border, ids(1)));
  return rows.flatMap((row) => [...row]);
}

for (const cacheType of cacheTypes) {
  for (const slidingWindow of [undefined, 100]) {
    const window = slidingWindow ? `, a window of ${slidingWindow}` : "";
    Deno.test(`${cacheType} caches agree over 600 positions${window}`, async () => {
      const made = await randomModel({
        type: "F16",
        hiddenSize: 40,
        headCount: 5,
        kvHeadCount: 1,
        headSize: 12,
        feedForwardSize: 16,
        layerCount: 2,
        slidingWindow,
      });
      const { model, source } = made;
      const { vocabSize } = model;
      const expected = await logitsOf(
        await reference(made, cacheType),
        vocabSize,
      );
      const options = { model, sparsity, limits, cacheType };
      const cpu = (threads: number) => () =>
        startTeam(source, threads, {
          ...options,
          measureRecall: false,
          rates: nextRates(),
        });
      const gpu = () =>
        gpuTeam(made, sparsity, undefined, { limits, cacheType });
      const teams = { inline: cpu(0), "3 threads": cpu(3) };
      const all = hasAdapter ? { ...teams, gpu } : teams;
      for (const [name, makeTeam] of Object.entries(all)) {
        const team = await makeTeam();
        const actual = await logitsOf(team, vocabSize);
        const norm = (values: number[]) => Math.hypot(...values);
        const error = norm(actual.map((v, i) => v - expected[i])) /
          norm(expected);
        // A key between two steps may fall on either.
        const limit = { f32: 1e-4, f16: 1e-3, q8_0: 5e-3 }[cacheType];
        assert(error < limit, `${name}: off by ${error}`);
      }
    });
  }
}
