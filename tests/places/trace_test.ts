/** What places tell of when they computed. */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import { GpuError } from "../../src/errors.ts";
import { Device } from "../../src/places/gpu/device/device.ts";
import { load } from "../../mod.ts";
import type { Lane, TraceEvent } from "../../src/places/trace.ts";
import type { Team } from "../../src/places/team.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { sharesOf, timelineOf } from "../../cli/commands/bench/timeline.ts";
import { testWithAdapter } from "../helpers/adapter.ts";
import { firstLayers, scatteredShare } from "../helpers/hybrid_plans.ts";
import { randomModel } from "../helpers/random_model.ts";
import { gpuTeam } from "../helpers/gpu_teams.ts";
import { cpuTeam, hybridTeam, teams } from "../helpers/teams.ts";

const exact = { mode: "exact" } as const;

function assertInOrder({ kind, events }: Lane): void {
  events.forEach(({ start, end }, i) => {
    assert(start <= end, `${kind}: ${end} is before ${start}`);
    const last = events[i - 1]?.end ?? 0;
    assert(start >= last, `${kind}: ${start} is before ${last}`);
  });
}

/** Layers for which something was done. */
function layersOf({ events }: Lane, activity: TraceEvent["activity"]) {
  const found = events.filter((event) => event.activity === activity);
  return [...new Set(found.map(({ layer }) => layer))];
}

const made = await randomModel({ layerCount: 3 });
const layers = [0, 1, 2];
const traced: Record<string, [kinds: Lane["kind"][], () => Promise<Team>]> = {
  "2 places in this thread": [
    ["cpu", "cpu"],
    () => cpuTeam(made, splitEvenly(made.model, 2), exact),
  ],
  "2 threads": [["cpu", "cpu"], () => teams["cpu, 2 threads"](made, exact)],
  "2 places and a GPU that does not tell": [
    ["cpu", "cpu", "gpu host"],
    () => hybridTeam(made, scatteredShare(made.model, 0.5), exact),
  ],
};
for (const [name, [kinds, makeTeam]] of Object.entries(traced)) {
  Deno.test(`${name} tell what they did when, and compute the same`, async () => {
    await using engine = new Engine(await makeTeam(), made.model.vocabSize);
    using watched = engine.createSequence();
    await engine.evaluate(watched, [1, 2]);
    using other = watched.fork();
    const from = performance.timeOrigin + performance.now();
    const lanes = await engine.trace(watched, 3);
    const to = performance.timeOrigin + performance.now();
    await engine.evaluate(other, [3]);
    assert.deepEqual(lanes.map(({ kind }) => kind), kinds);
    for (const lane of lanes) {
      assertInOrder(lane);
      assert.deepEqual(layersOf(lane, "attention"), layers);
      assert.deepEqual(layersOf(lane, "neurons"), layers);
      // Clocks of threads differ by some microseconds.
      assert(lane.events[0].start > from - 1);
      assert(lane.events.at(-1)!.end < to + 1);
    }
    const [a] = await engine.evaluate(watched, [4]);
    const [b] = await engine.evaluate(other, [4]);
    assert.deepEqual(a, b);
  });
}

testWithAdapter("both sides compute at once in a hybrid step", async () => {
  const { model, bytes } = await randomModel({
    type: "F16",
    hiddenSize: 512,
    feedForwardSize: 8192,
    layerCount: 3,
    downByNeuron: true,
  });
  const all = firstLayers(model, 3, true);
  const few = scatteredShare(model, 0.02);
  const gpuPlan = {
    vocab: all.vocab,
    parts: all.parts.map((part, i) => ({
      ...part,
      ...few.parts[i],
      heads: part.heads,
    })),
  };
  for (const threads of [2, 0]) {
    const options = { threads, contextSize: 96, gpu: "require" } as const;
    await using both = await load(bytes, { ...options, gpuPlan });
    using sequence = both.engine.createSequence();
    await both.engine.evaluate(sequence, [1, 2, 3]);
    // On a busy machine the sides may take turns for a while.
    let most = 0;
    for (let i = 0; i < 500 && most === 0; i++) {
      const before = { ...both.engine.gpu!.counts };
      const lanes = await both.engine.trace(sequence, 5);
      assert.deepEqual(
        lanes.map(({ kind }) => kind),
        [...Array(threads || 1).fill("cpu"), "gpu host", "gpu"],
      );
      lanes.forEach(assertInOrder);
      const [host, device] = lanes.slice(-2);
      assert.deepEqual(layersOf(device, "attention"), layers);
      assert.deepEqual(layersOf(device, "neurons"), layers);
      // The device has computed what this side was waiting for.
      for (const layer of layers) {
        const [waited] = host.events.filter((event) =>
          event.activity === "read-back" && event.layer === layer
        );
        const [attention] = device.events.filter((event) =>
          event.activity === "attention" && event.layer === layer
        );
        assert(attention.end <= waited.end);
        assert(attention.end > waited.start);
      }
      most = sharesOf(timelineOf("token", lanes))!.both;
      // What is not watched costs the same as ever.
      const now = { ...both.engine.gpu!.counts };
      await both.engine.evaluate(sequence, [5]);
      const then = both.engine.gpu!.counts;
      for (const name of ["dispatches", "submits", "readBacks"] as const) {
        assert.equal(then[name] - now[name], now[name] - before[name], name);
      }
    }
    assert(most > 0, "the sides never computed at once");
  }
});

testWithAdapter(
  "a GPU that is lost while it is watched is an error",
  async () => {
    const device = await Device.open();
    const team = await gpuTeam(made, exact, undefined, { device });
    const engine = new Engine(team, made.model.vocabSize);
    using sequence = engine.createSequence();
    await engine.trace(sequence, 1);
    const { gpu } = team.sides;
    const endTrace = gpu.endTrace.bind(gpu);
    gpu.endTrace = () => {
      device.destroy();
      return endTrace();
    };
    await assert.rejects(engine.trace(sequence, 2), GpuError);
  },
);
