/**
 * How fast this machine's CPU and GPU are with a model's types and widths,
 * measured before any of it is loaded.
 *
 * @module
 */
import type { GpuRates, Machine } from "../plan/machine.ts";
import type { PlacePlan } from "../plan/plan.ts";
import type { GpuUse } from "./gpu_use.ts";
import { probeModel } from "./probe.ts";
import { type StartOptions, startTeam } from "./start.ts";
import type { Team } from "./team.ts";

/** Steps that are timed, after one that is not. */
const steps = 9;

/**
 * What a bus carries in a millisecond, about: that of PCIe 3.0 x16. A residual
 * takes a thousandth of a ms over it, far less than the wait for it.
 */
const transfer = 12e6;

/**
 * Measures `threads` CPU threads and the GPU, one after the other, in about a
 * second.
 *
 * @throws {GpuError} where the GPU fails
 */
export async function measureMachine(
  places: StartOptions,
  threads: number,
): Promise<Machine> {
  const { model, source } = probeModel(places.model);
  const options: StartOptions = {
    ...places,
    model,
    profile: undefined,
    sparsity: { mode: "exact" },
    limits: { tokens: 1, contextSize: 32 },
  };
  await using cpu = await startTeam(source, threads, options);
  const sum = (name: "stream" | "pick") =>
    cpu.rates.reduce((total, rates) => total + rates[name], 0);
  const gpuPlan: PlacePlan = {
    vocab: { start: 0, end: model.vocabSize },
    parts: [{
      heads: { start: 0, end: model.headCount },
      neurons: { start: 0, end: model.feedForwardSize },
    }],
  };
  await using gpu = await startTeam(source, threads, { ...options, gpuPlan });
  return {
    cpu: { stream: sum("stream"), pick: sum("pick") },
    gpu: await gpuRates(gpu, gpu.gpu!),
  };
}

/** What is left of a step's time when reading and waiting are taken off is what starting its kernels takes. */
async function gpuRates(team: Team, use: GpuUse): Promise<GpuRates> {
  const { batch } = team;
  batch.length = 1;
  batch.tokens[0] = batch.positions[0] = batch.sequences[0] = 0;
  batch.wantLogits[0] = 1;
  batch.copyCount = 0;
  batch.pageCount = 1;
  const times: number[] = [];
  await team.run();
  const before = team.gpu!.counts.dispatches;
  for (let i = 0; i < steps; i++) {
    const start = performance.now();
    await team.run();
    times.push(performance.now() - start);
  }
  const dispatches = (team.gpu!.counts.dispatches - before) / steps;
  const ms = times.sort((a, b) => a - b)[steps >> 1];
  const { readBackMs, stream } = use;
  const rest = ms - readBackMs - team.weightBytes / stream;
  return {
    stream,
    readBack: readBackMs,
    transfer,
    dispatch: Math.max(0, rest / dispatches),
    memory: Infinity,
  };
}
