/**
 * How fast this machine's CPU and GPU are with a model's types and widths,
 * measured before any of it is loaded.
 */
import type { Model } from "../model/model.ts";
import {
  type CpuRates,
  type GpuRates,
  type Machine,
  sumOfRates,
} from "../plan/machine.ts";
import { GpuError, PlaceError } from "../errors.ts";
import { loadKernels } from "../kernels/kernels.ts";
import { type Plan, splitEvenly } from "../plan/plan.ts";
import { missingForThreads } from "../platform/threads.ts";
import { probeModel } from "./probe_model.ts";
import type { TeamOptions } from "./team.ts";
import { PlaceService, type ReadyPlace } from "./threads/place_service.ts";
import { PlaceWorker } from "./threads/thread_team.ts";

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

/** On layers as large as the model's own, by all threads at once. */
async function measureCpu(model: Model, threads: number): Promise<CpuRates> {
  const [{ ffn_up }] = model.layers;
  const layers = Math.min(
    model.layers.length,
    Math.ceil(
      Math.max(cpuBytes, cpuThreadBytes * threads) / (3 * ffn_up.byteLength),
    ),
  );
  const probe = probeModel(model, model.feedForwardSize, layers);
  const { places } = splitEvenly(probe, Math.max(1, threads));
  const plans = places.map((place) => ({ places: [place] }));
  const measured = await measurePlaces(probe, plans, threads);
  return sumOfRates(measured.flatMap(({ rates }) => rates ?? []));
}

/** On one layer, in a worker, where its results may be read sooner. */
async function measureGpu(model: Model, threads: number): Promise<GpuRates> {
  const neurons = Math.min(gpuNeurons, model.feedForwardSize);
  const probe = probeModel(model, neurons, 1);
  const [gpu] = splitEvenly(probe, 1).places;
  const [measured] = await measurePlaces(probe, [{ places: [], gpu }], threads);
  const { readBackMs: readBack, speed } = measured.gpu!;
  const { stream, dispatchMs: dispatch } = speed!;
  return { stream, readBack, transfer, dispatch, memory: Infinity };
}

/** What can be measured of a place, here or in a worker. */
type Probe = Pick<PlaceService, "probe" | "ready">;

/** Measures places alone, each by itself but at the same time: in workers where there are threads, else the first, here. */
async function measurePlaces(
  model: Model,
  plans: readonly Plan[],
  threads: number,
): Promise<ReadyPlace[]> {
  const { module } = await loadKernels();
  const options = plans.map((plan): TeamOptions => ({
    model,
    plan,
    sparsity: { mode: "exact" },
    limits: { tokens: 1, contextSize: 32 },
    cacheType: "f16",
    measureRecall: false,
    measureGpu: true,
  }));
  const measure = async (probes: readonly Probe[]) => {
    await Promise.all(
      probes.map((probe, i) => probe.probe(module, options[i])),
    );
    return await Promise.all(probes.map(async (probe) => await probe.ready()));
  };
  const here = async () => {
    await using service = new PlaceService(() => {});
    return await measure([service]);
  };
  if (threads === 0 || missingForThreads()) return await here();
  const workers: PlaceWorker[] = [];
  try {
    for (const { gpu, places: [place] } of plans) {
      workers.push(new PlaceWorker(gpu ?? place, gpu ? "GPU" : "CPU worker"));
    }
    return await measure(workers.map((worker): Probe => ({
      probe: (...args) => worker.call("probe", args),
      ready: () => worker.call("ready", []),
    })));
  } catch (error) {
    if (error instanceof GpuError || !(error instanceof PlaceError)) {
      throw error;
    }
    return await here();
  } finally {
    const reason = new PlaceError("Measured");
    for (const worker of workers) worker.terminate(reason);
  }
}
