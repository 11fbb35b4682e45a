/**
 * How fast this machine's CPU and GPU are with a model's types and widths,
 * measured before any of it is loaded.
 */
import { bytesOfTensors } from "../formats/ggml/types.ts";
import { isSparse } from "../model/activation.ts";
import { routedNeurons } from "../model/experts.ts";
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
import { workerText } from "../platform/rpc_worker.ts";
import { missingForThreads } from "../platform/threads.ts";
import { pagePositions, pagesFor } from "./batch.ts";
import type { MeasuredGpu } from "./gpu_stats.ts";
import { probeModel, zeros } from "./probe_model.ts";
import { bytesRead, statsSince, sumCounts } from "./stats.ts";
import { type StartOptions, startTeam } from "./start.ts";
import type { Team, TeamOptions } from "./team.ts";
import type { Lane, WorkTime } from "./trace.ts";
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
/** Steps that take so many times what reading does wait for something else, unless all do. */
const disturbed = 2;
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
  const neurons = routedNeurons(model);
  const [layer] = probeModel(model, { neurons, layers: 1, predicts }).layers;
  const bytes = bytesOfTensors(Object.values(layer));
  const layers = Math.min(
    model.layers.length,
    Math.ceil(Math.max(cpuBytes, cpuThreadBytes * threads) / bytes),
  );
  const { token_embd, output, vocabSize } = model;
  const rowBytes = bytesOfTensors(
    [...new Set([token_embd, output])],
  ) / vocabSize;
  const probe = probeModel(model, {
    neurons,
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
 * rows, keys and values, and the head, all threads at once, and what they take
 * beside reading. In a model of zeros no neuron fires.
 */
async function measureSteps(
  team: Team,
  stream: number,
): Promise<Pick<Cpu, "stream" | "cache" | "head" | "layerMs">> {
  const { batch, counts, options: { model, limits } } = team;
  const pages = batch.pagesPerSequence, layers = model.layers.length;
  await team.reserve(pages);
  batch.length = 1;
  batch.wantLogits[0] = 1;
  batch.setModeValue(0);
  batch.top = 1;
  for (let page = 0; page < pages; page++) batch.pages[page] = page;
  // What was never written is read from one page of the system's.
  batch.copyCount = pages - 1;
  batch.copies.forEach((_, i) => batch.copies[i] = i % 2 && (i + 1) / 2);
  const before = sumCounts(counts, 0);
  await team.run();
  const read = statsSince(sumCounts(counts, 0), before);
  // The file's bytes, by which costs are told, where all of them are read.
  const layerBytes = isSparse(model.activation)
    ? bytesRead({ ...read, headBytes: 0 })
    : model.layers.reduce(
      (sum, layer) => sum + bytesOfTensors(Object.values(layer)),
      0,
    );
  batch.copyCount = 0;
  batch.positions[0] = limits.contextSize - 1;
  const stepMs = await typicalStepMs(team, bytesRead(read) / stream);
  const { rows, cache, head } = await measureReading(team);
  const besideMs = stepMs - layerBytes / rows.rate - cache.ms - head.ms;
  return {
    stream: rows.rate,
    cache: cache.ms > 0 ? cache.rate : rows.rate,
    // Of the file's bytes too
    head: head.ms > 0 ? model.output.byteLength / head.ms : rows.rate,
    layerMs: Math.max(0, besideMs) / layers,
  };
}

/**
 * The median of steps once they come no faster any more, `readMs` of which are
 * reading; where all were disturbed, of those that were it the least.
 */
async function typicalStepMs(team: Team, readMs: number): Promise<number> {
  const start = performance.now();
  let settled: number[][] = [], best = Infinity;
  while (
    settled.length <= settledWindows && performance.now() - start < mostMs
  ) {
    const steps = await stepsFor(team, windowMs);
    const typical = median(steps);
    if (typical > disturbed * readMs) settled = [];
    else if (typical < faster * best) settled = [steps];
    else settled.push(steps);
    best = Math.min(best, typical);
  }
  return settled.length > 0 ? median(settled.flat()) : best;
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

/** What a step reads of some kind. */
interface Reading {
  /** In ms, by all threads at once */
  readonly ms: number;
  /** Bytes a ms of all threads together */
  readonly rate: number;
}

type KindRead = "rows" | "cache" | "head";

function kindOf({ stage, work }: WorkTime): KindRead {
  return stage === "head" ? "head" : work === "attention" ? "cache" : "rows";
}

/**
 * How steps read rows of layers, keys and values, and rows of the head: what
 * one kind reads drives the others out of caches.
 */
async function measureReading(team: Team): Promise<Record<KindRead, Reading>> {
  const steps: Record<KindRead, Reading>[] = [];
  for (let step = 0; step < tracedSteps; step++) {
    let lanes: readonly Lane[] = [];
    await team.run((traced) => lanes = traced);
    const readingOf = (kind: KindRead): Reading => {
      const all = lanes.map(({ profile }) => {
        const read = profile!.work.filter((each) =>
          each.bytes > 0 && kindOf(each) === kind
        );
        const sum = (of: (each: WorkTime) => number) =>
          read.reduce((total, each) => total + of(each), 0);
        return { ms: sum(({ ms }) => ms), bytes: sum(({ bytes }) => bytes) };
      }).filter(({ ms }) => ms > 0);
      const total = (of: (lane: { ms: number; bytes: number }) => number) =>
        all.reduce((sum, lane) => sum + of(lane), 0);
      return {
        ms: total(({ ms }) => ms) / lanes.length,
        rate: total(({ ms, bytes }) => bytes / ms),
      };
    };
    steps.push({
      rows: readingOf("rows"),
      cache: readingOf("cache"),
      head: readingOf("head"),
    });
  }
  const typical = (kind: KindRead): Reading => ({
    ms: median(steps.map((step) => step[kind].ms)),
    rate: median(steps.map((step) => step[kind].rate)),
  });
  return {
    rows: typical("rows"),
    cache: typical("cache"),
    head: typical("head"),
  };
}

/** On one layer, in a worker, where its results may be read sooner. */
async function measureGpu(model: Model, threads: number): Promise<GpuRates> {
  const neurons = Math.min(gpuNeurons, routedNeurons(model));
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
  const worker = new PlaceWorker(
    await workerText(),
    options.plan.gpu,
    "GPU",
  );
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
