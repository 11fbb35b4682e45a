/**
 * Keys and values that one kind of place has computed, taken over by the others:
 * the same kind goes on with the same bits, another one with what its own are to
 * within rounding.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { readPast, writePast } from "../../src/generate/past.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import type { CacheType } from "../../src/places/cache_type.ts";
import type { Team } from "../../src/places/team.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { distance } from "../helpers/compare_places.ts";
import { gpuTeam, gpuTeams, gpuTeamsOfQ8 } from "../helpers/gpu_teams.ts";
import { hasAdapter } from "../helpers/adapter.ts";
import { randomSplit } from "../helpers/hybrid_plans.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import {
  cpuTeam,
  type MakeTeam,
  referenceTeam,
  teams,
  teamsOfQ8,
} from "../helpers/teams.ts";

const { "cpu, 2 threads": threadsOfF16, ...teamsOfF32 } = teams;

const teamsByType: Record<CacheType, Record<string, MakeTeam>> = {
  f32: { ...teamsOfF32, ...gpuTeams },
  f16: {
    "cpu, 2 threads": threadsOfF16,
    "cpu, 3 places": (made, sparsity) =>
      cpuTeam(made, splitEvenly(made.model, 3), sparsity, {
        cacheType: "f16",
      }),
    "reference, 1 place": (made, sparsity) =>
      referenceTeam(made, splitEvenly(made.model, 1), sparsity, "f16"),
    ...hasAdapter
      ? {
        "gpu": (made, sparsity) =>
          gpuTeam(made, sparsity, undefined, { cacheType: "f16" }),
        "gpu with a random split, 2 cpu places": (made, sparsity) =>
          gpuTeam(made, sparsity, randomSplit(made.model, 5), {
            cacheType: "f16",
          }),
      } satisfies Record<string, MakeTeam>
      : {},
  },
  q8_0: { ...teamsOfQ8, ...gpuTeamsOfQ8 },
};

/** Logits may differ by so much, relative to their spread, where another kind of place goes on. */
const tolerance = { f32: 1e-4, f16: 1e-2, q8_0: 2e-2 };

/** A page and some positions of another, in two steps and single tokens. */
const past = 45;

const cases: RandomModelOptions[] = [
  { seed: 1 },
  { hiddenSize: 96, headCount: 6, kvHeadCount: 3, seed: 2 },
  // No whole block of 32, no whole panel of 8.
  { hiddenSize: 10, headSize: 14, headCount: 3, kvHeadCount: 1, seed: 3 },
  { headSize: 46, headCount: 2, kvHeadCount: 2, slidingWindow: 7, seed: 4 },
];

for (const [cacheType, kinds] of Object.entries(teamsByType)) {
  for (const options of cases) {
    Deno.test(`a past of any kind of place goes on in any other: ${cacheType}, ${JSON.stringify(options)}`, async () => {
      const made = await randomModel(options);
      await comparePasts(made, kinds, tolerance[cacheType as CacheType]);
    });
  }
}

interface Run {
  readonly name: string;
  readonly make: MakeTeam;
  readonly bytes: Uint8Array;
  readonly logits: readonly number[];
}

async function comparePasts(
  made: RandomModel,
  kinds: Record<string, MakeTeam>,
  limit: number,
): Promise<void> {
  const { model } = made;
  const random = seededRandom(9);
  const ids = Array.from(
    { length: past + 20 },
    () => Math.floor(random() * model.vocabSize),
  );
  const owner = (team: Team) => ({
    team,
    engine: new Engine(team, model.vocabSize),
    model,
    fingerprint: "of the test",
  });
  const runs: Run[] = [];
  for (const [name, make] of Object.entries(kinds)) {
    const own = owner(await make(made, { mode: "exact" }));
    await using engine = own.engine;
    using sequence = engine.createSequence();
    await engine.evaluate(sequence, ids.slice(0, past), "none");
    const bytes = await toBuffer(writePast(own, sequence));
    const rows = await engine.evaluate(sequence, ids.slice(past), "all");
    runs.push({ name, make, bytes, logits: rows.flatMap((row) => [...row]) });
  }
  for (const { name, make, logits } of runs) {
    const own = owner(await make(made, { mode: "exact" }));
    await using engine = own.engine;
    for (const saved of runs) {
      using sequence = await readPast(own, fromBuffer(saved.bytes));
      assert.equal(sequence.length, past);
      const rows = await engine.evaluate(sequence, ids.slice(past), "all");
      const went = Float32Array.from(rows.flatMap((row) => [...row]));
      const error = distance(went, Float32Array.from(logits));
      const isExact = saved.name === name && !cutsKvHeads(own.team);
      assert(
        isExact ? error === 0 : error < limit,
        `${name} behind ${saved.name}: logits differ by ${error}`,
      );
    }
  }
}

/** Whether a GPU and the CPU hold the same KV head, of which a file has one place's rows. */
function cutsKvHeads({ options: { model, plan } }: Team): boolean {
  const group = model.headCount / model.kvHeadCount;
  return (plan.gpu?.parts ?? []).some(({ heads }) => heads.end % group > 0);
}
