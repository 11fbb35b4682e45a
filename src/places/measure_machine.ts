/**
 * How fast this machine's CPU and GPU are with a model's types and widths,
 * measured before any of it is loaded.
 */
import { bytesOfTensors } from "../formats/ggml/types.ts";
import type { Model } from "../model/model.ts";
import {
  type Cpu,
  type GpuRates,
  type Machine,
  sumOfRates,
} from "../plan/machine.ts";
import { GpuError, PlaceError } from "../errors.ts";
import { type PlacePlan, splitEvenly } from "../plan/plan.ts";
import type { Sparsity } from "../plan/sparsity.ts";
import { missingForThreads } from "../platform/threads.ts";
import { pagePositions } from "./batch.ts";
import type { MeasuredGpu } from "./gpu_stats.ts";
import { probeModel, zeros } from "./probe_model.ts";
import { bytesRead, sumCounts } from "./stats.ts";
import { type StartOptions, startTeam } from "./start.ts";
import type { Team, TeamOptions } from "./team.ts";
import { PlaceService } from "./threads/place_service.ts";
import { PlaceWorker } from "./threads/thread_team.ts";

/**
 * What a bus carries in a millisecond, about: that of PCIe 3.0 x16. A residual
 * takes a thousandth of a ms over it, far less than the wait for it.
 */
const transfer = 12e6;

/** Neurons of the layer that a GPU is measured on, at most: it takes little of its memory. */
const gpuNeurons = 2048;

/**
 * Measures `threads` CPU threads, with rows as `sparsity` has them lie, and, where
 * `withGpu` says so, the GPU, one after the other, in about a second.
 *
 * @throws {GpuError} where the GPU fails
 */
export async function measureMachine(
  model: Model,
  threads: number,
  withGpu: boolean,
  sparsity: Sparsity = { mode: "exact" },
): Promise<Machine> {
  const cpu = await measureCpu(model, threads, sparsity);
  return withGpu ? { cpu, gpu: await measureGpu(model, threads) } : { cpu };
}

/**
 * Bytes of the layers that the CPU is measured on, at least, in all and for each
 * thread: more than caches hold, if the model has as many. Servers have some 10
 * MB of cache for each core, and 320 MB for all.
 */
const cpuBytes = 2 ** 29, cpuThreadBytes = 2 ** 26;

/** ms that are spent on steps, and steps that are run, at least. */
const stepsMs = 60, leastSteps = 6;
/** Steps that are run where one takes less than so many ms: they are compiled later. */
const shortSteps = 36, shortMs = 6;

/** Positions that a measured token reads. */
const positions = 512;

/** On layers as large as the model's own, by all threads at once. */
async function measureCpu(
  model: Model,
  threads: number,
  { mode }: Sparsity,
): Promise<Cpu> {
  const predicts = mode === "predictor";
  const bytes = bytesOfTensors(Object.values(model.layers[0]));
  const layers = Math.min(
    model.layers.length,
    Math.ceil(Math.max(cpuBytes, cpuThreadBytes * threads) / bytes),
  );
  const probe = probeModel(model, model.feedForwardSize, layers, predicts);
  const contextSize = Math.min(positions, model.contextSize);
  await using team = await startTeam(
    zeros,
    threads,
    optionsFor(probe, contextSize, predicts),
  );
  const rates = sumOfRates(team.rates);
  return { ...rates, layerMs: await measureLayer(team, rates.stream) };
}

/**
 * What a layer takes beside reading its rows, in ms: what a step takes longer
 * than the bytes that it reads. In a model of zeros no neuron fires.
 */
async function measureLayer(team: Team, stream: number): Promise<number> {
  const { batch, counts, options: { model } } = team;
  const layers = model.layers.length;
  await team.reserve(1);
  batch.length = 1;
  batch.wantLogits[0] = 1;
  const read = () => bytesRead(sumCounts(counts, 0));
  const rest: number[] = [];
  let shortest = Infinity;
  const run = async () => {
    const before = read();
    const start = performance.now();
    await team.run();
    const ms = performance.now() - start;
    shortest = Math.min(shortest, ms);
    rest.push(ms - (read() - before) / stream);
  };
  const start = performance.now();
  do await run(); while (
    performance.now() - start < stepsMs ||
    rest.length < (shortest < shortMs ? shortSteps : leastSteps)
  );
  // Code is compiled in the first half; whatever disturbs a step makes it longer.
  const warm = rest.slice(rest.length >> 1).sort((a, b) => a - b);
  return Math.max(0, warm[Math.round(0.25 * (warm.length - 1))]) / layers;
}

/** On one layer, in a worker, where its results may be read sooner. */
async function measureGpu(model: Model, threads: number): Promise<GpuRates> {
  const neurons = Math.min(gpuNeurons, model.feedForwardSize);
  const probe = probeModel(model, neurons, 1);
  const [gpu] = splitEvenly(probe, 1).places;
  const { readBackMs: readBack, speed } = await measureGpuPlace(
    { ...optionsFor(probe, pagePositions), plan: { places: [], gpu } },
    threads,
  );
  const { stream, dispatchMs: dispatch } = speed!;
  return { stream, readBack, transfer, dispatch, memory: Infinity };
}

/** Where a predictor is asked, it selects none, as no gate is positive else. */
function optionsFor(
  model: Model,
  contextSize: number,
  predicts = false,
): StartOptions {
  return {
    model,
    sparsity: predicts
      ? { mode: "predictor", threshold: 1 }
      : { mode: "exact" },
    limits: { tokens: 1, contextSize },
    cacheType: "f16",
    measureRecall: false,
    forPlan: true,
  };
}

/** Measures a GPU's place of zeros: in a worker where there are threads, else here. */
async function measureGpuPlace(
  options: TeamOptions & { readonly plan: { readonly gpu: PlacePlan } },
  threads: number,
): Promise<MeasuredGpu> {
  const here = async () => {
    await using service = new PlaceService(() => {});
    await service.probe(options);
    return (await service.ready()).gpu!;
  };
  if (threads === 0 || missingForThreads()) return await here();
  const worker = new PlaceWorker(options.plan.gpu, "GPU");
  try {
    await worker.call("probe", [options]);
    return (await worker.call("ready", [])).gpu!;
  } catch (error) {
    if (error instanceof GpuError || !(error instanceof PlaceError)) {
      throw error;
    }
    return await here();
  } finally {
    worker.terminate(new PlaceError("Measured"));
  }
}
