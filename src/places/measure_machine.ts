/**
 * How fast this machine's CPU and GPU are with a model's types and widths,
 * measured before any of it is loaded.
 */
import { bytesOfTensors } from "../formats/ggml/types.ts";
import { isSparse } from "../model/activation.ts";
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
import { pagePositions, pagesFor } from "./batch.ts";
import { kvPositionBytes } from "./cache_type.ts";
import type { MeasuredGpu } from "./gpu_stats.ts";
import { probeModel, zeros } from "./probe_model.ts";
import { bytesRead, statsSince, sumCounts } from "./stats.ts";
import { type StartOptions, startTeam } from "./start.ts";
import type { Team, TeamOptions } from "./team.ts";
import type { Lane } from "./trace.ts";
import { PlaceService } from "./threads/place_service.ts";
import { PlaceWorker } from "./threads/thread_team.ts";

/**
 * What a bus carries in a millisecond, about: that of PCIe 3.0 x16. A residual
 * takes a thousandth of a ms over it, far less than the wait for it.
 */
const transfer = 12e6;

/** Neurons of the layer that a GPU is measured on, at most: it takes little of its memory. */
const gpuNeurons = 2048;

/** How a machine is measured. */
export interface MeasureOptions {
  /** How rows lie. Default: as in mode `exact`. */
  readonly sparsity?: Sparsity;
  /** Measures how fast rows are read alone: what a split between CPU and GPU hangs on, in half the time. */
  readonly ratesOnly?: boolean;
}

/**
 * Measures `threads` CPU threads and, where `withGpu` says so, the GPU, one
 * after the other, in about a second.
 *
 * @throws {GpuError} where the GPU fails
 */
export async function measureMachine(
  model: Model,
  threads: number,
  withGpu: boolean,
  options: MeasureOptions = {},
): Promise<Machine> {
  const cpu = await measureCpu(model, threads, options);
  return withGpu ? { cpu, gpu: await measureGpu(model, threads) } : { cpu };
}

/**
 * Bytes of the layers that the CPU is measured on, at least, in all and for each
 * thread: more than caches hold, if the model has as many. Servers have some 10
 * MB of cache for each core, and 320 MB for all.
 */
const cpuBytes = 2 ** 29, cpuThreadBytes = 2 ** 26;

/** Bytes of the embedding and the output head that the CPU is measured on, at most. */
const vocabBytes = 2 ** 28;

/** ms of steps of which the typical one is taken, and steps, at least. */
const windowMs = 60, leastSteps = 8;
/**
 * Code is compiled meanwhile, on the same cores: steps are measured until they
 * come no faster any more for so many windows, or so many ms were spent.
 */
const settledWindows = 2, mostMs = 800;
/** Steps that are so much faster are no noise. */
const faster = 0.97;
/** Steps that are traced. */
const tracedSteps = 5;

/** Positions that a measured token reads. */
const positions = 256;

/** On layers as large as the model's own, by all threads at once. */
async function measureCpu(
  model: Model,
  threads: number,
  { sparsity, ratesOnly = false }: MeasureOptions,
): Promise<Cpu> {
  const predicts = sparsity?.mode === "predictor";
  const bytes = bytesOfTensors(Object.values(model.layers[0]));
  const layers = Math.min(
    model.layers.length,
    Math.ceil(Math.max(cpuBytes, cpuThreadBytes * threads) / bytes),
  );
  const { token_embd, output, vocabSize } = model;
  const rowBytes = bytesOfTensors(
    [...new Set([token_embd, output])],
  ) / vocabSize;
  const probe = probeModel(model, {
    neurons: model.feedForwardSize,
    layers,
    vocabSize: ratesOnly
      ? undefined
      : Math.min(vocabSize, Math.ceil(vocabBytes / rowBytes)),
    predicts,
  });
  const contextSize = Math.min(positions, model.contextSize);
  await using team = await startTeam(
    zeros,
    threads,
    {
      ...optionsFor(probe, contextSize, predicts),
      forPlan: !ratesOnly,
    },
  );
  const rates = sumOfRates(team.rates);
  return ratesOnly
    ? rates
    : { ...rates, ...await measureSteps(team, rates.stream) };
}

/**
 * Whole steps of one token behind as many as the context has: how fast they read
 * keys and values, and the head, and what they take beside reading. In a model of
 * zeros no neuron fires.
 */
async function measureSteps(
  team: Team,
  stream: number,
): Promise<Pick<Cpu, "cache" | "head" | "layerMs">> {
  const { batch, counts, options: { model, limits, cacheType } } = team;
  const pages = batch.pagesPerSequence, layers = model.layers.length;
  await team.reserve(pages);
  batch.length = 1;
  batch.wantLogits[0] = 1;
  batch.top = 1;
  for (let page = 0; page < pages; page++) batch.pages[page] = page;
  // What was never written is read from one page of the system's.
  batch.copyCount = pages - 1;
  batch.copies.forEach((_, i) => batch.copies[i] = i % 2 && (i + 1) / 2);
  const before = sumCounts(counts, 0);
  await team.run();
  const { headBytes, ...rest } = statsSince(sumCounts(counts, 0), before);
  // The file's bytes, by which costs are told, where all of them are read.
  const layerBytes = isSparse(model.activation)
    ? bytesRead({ headBytes: 0, ...rest })
    : model.layers.reduce(
      (sum, layer) => sum + bytesOfTensors(Object.values(layer)),
      0,
    );
  batch.copyCount = 0;
  batch.positions[0] = limits.contextSize - 1;
  const stepMs = await typicalStepMs(team);
  const { attentionMs, headMs } = await measureParts(team);
  const read = model.attention.reduce(
    (sum, { window = Infinity }) => sum + Math.min(window, limits.contextSize),
    0,
  );
  const kvBytes = read * model.kvHeadCount *
    kvPositionBytes(cacheType, model.headSize);
  const besideMs = stepMs - layerBytes / stream - attentionMs - headMs;
  return {
    cache: attentionMs > 0 ? kvBytes / attentionMs : stream,
    head: headMs > 0 && headBytes > 0
      ? model.output.byteLength / headMs
      : stream,
    layerMs: Math.max(0, besideMs) / layers,
  };
}

/** The median of steps once they come no faster any more. */
async function typicalStepMs(team: Team): Promise<number> {
  const start = performance.now();
  let windows: number[][] = [], best = Infinity;
  while (
    windows.length <= settledWindows && performance.now() - start < mostMs
  ) {
    const steps = await stepsFor(team, windowMs);
    const typical = median(steps);
    if (typical < faster * best) windows = [];
    best = Math.min(best, typical);
    windows.push(steps);
  }
  return median(windows.flat());
}

/** What steps take that are run for `ms`, in ms each. */
async function stepsFor(team: Team, ms: number): Promise<number[]> {
  const steps: number[] = [], begin = performance.now();
  while (steps.length < leastSteps || performance.now() - begin < ms) {
    const start = performance.now();
    await team.run();
    steps.push(performance.now() - start);
  }
  return steps;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/**
 * ms of a step that go into scores and weighted sums, and into the head: weights
 * that were read since have driven keys and values out of caches, and these the
 * head.
 */
async function measureParts(
  team: Team,
): Promise<{ attentionMs: number; headMs: number }> {
  const attention: number[] = [], head: number[] = [];
  for (let step = 0; step < tracedSteps; step++) {
    let lanes: readonly Lane[] = [];
    await team.run((traced) => lanes = traced);
    const kernels = lanes.flatMap(({ profile }) => profile?.work ?? [])
      .filter(({ work }) => work === "attention");
    attention.push(kernels.reduce((sum, { ms }) => sum + ms, 0) / lanes.length);
    const heads = lanes.flatMap(({ events }) => events)
      .filter(({ activity }) => activity === "head");
    head.push(
      heads.reduce((sum, { start, end }) => sum + end - start, 0) /
        lanes.length,
    );
  }
  return { attentionMs: median(attention), headMs: median(head) };
}

/** On one layer, in a worker, where its results may be read sooner. */
async function measureGpu(model: Model, threads: number): Promise<GpuRates> {
  const neurons = Math.min(gpuNeurons, model.feedForwardSize);
  const probe = probeModel(model, { neurons, layers: 1 });
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
    // A step writes all pages.
    limits: { tokens: pagesFor(contextSize), contextSize },
    cacheType: "f16",
    measureRecall: false,
    screenHead: "off",
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
