/**
 * How fast this machine's CPU and GPU are with a model's types and widths,
 * measured before any of it is loaded.
 *
 * @module
 */
import type { Model } from "../model/model.ts";
import type { CpuRates, GpuRates, Machine } from "../plan/machine.ts";
import { splitEvenly } from "../plan/plan.ts";
import { probeModel } from "./probe_model.ts";
import { type StartOptions, startTeam } from "./start.ts";

/**
 * What a bus carries in a millisecond, about: that of PCIe 3.0 x16. A residual
 * takes a thousandth of a ms over it, far less than the wait for it.
 */
const transfer = 12e6;

/** Neurons of the layer that a GPU is measured on, at most: it takes little of its memory. */
const gpuNeurons = 2048;

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
): Promise<Machine> {
  const cpu = await measureCpu(model, threads);
  return withGpu ? { cpu, gpu: await measureGpu(model, threads) } : { cpu };
}

/**
 * Bytes of the layers that the CPU is measured on, at least, in all and for each
 * thread: more than caches hold, if the model has as many. Servers have some 10
 * MB of cache for each core, and 320 MB for all.
 */
const cpuBytes = 2 ** 29, cpuThreadBytes = 2 ** 26;

/** On layers as large as the model's own. */
async function measureCpu(model: Model, threads: number): Promise<CpuRates> {
  const [{ ffn_up }] = model.layers;
  const layers = Math.min(
    model.layers.length,
    Math.ceil(
      Math.max(cpuBytes, cpuThreadBytes * threads) / (3 * ffn_up.byteLength),
    ),
  );
  const probe = probeModel(model, model.feedForwardSize, layers);
  await using team = await startTeam(
    probe.source,
    threads,
    optionsFor(probe.model),
  );
  const sum = (name: keyof CpuRates) =>
    team.rates.reduce((total, rates) => total + rates[name], 0);
  return { stream: sum("stream"), pick: sum("pick") };
}

async function measureGpu(model: Model, threads: number): Promise<GpuRates> {
  const neurons = Math.min(gpuNeurons, model.feedForwardSize);
  const probe = probeModel(model, neurons, 1);
  const [gpuPlan] = splitEvenly(probe.model, 1).places;
  await using team = await startTeam(
    probe.source,
    threads,
    { ...optionsFor(probe.model), gpuPlan, measureGpu: true },
  );
  const { readBackMs, speed } = team.gpu!;
  const { stream, dispatchMs } = speed!;
  return {
    stream,
    readBack: readBackMs,
    transfer,
    dispatch: dispatchMs,
    memory: Infinity,
  };
}

function optionsFor(model: Model): StartOptions {
  return {
    model,
    sparsity: { mode: "exact" },
    limits: { tokens: 1, contextSize: 32 },
    cacheType: "f16",
    measureRecall: false,
  };
}
