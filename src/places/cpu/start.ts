/**
 * Starts the CPU places: in workers where the sandbox lets us, else in the
 * caller's thread.
 *
 * @module
 */
import type { ByteSource } from "../../bytes/byte_source.ts";
import { PlaceError } from "../../errors.ts";
import type { Model } from "../../model/model.ts";
import { type Plan, splitEvenly } from "../../plan/plan.ts";
import type { Profile } from "../../plan/profile.ts";
import { LoadProgress, type Progress } from "../load.ts";
import { NeuronCounts } from "../neuron_counts.ts";
import { NormedStates } from "../normed_states.ts";
import { allSlices, readRows, sliceBytes, slicesOf } from "../slices.ts";
import { LayerCounts } from "../stats.ts";
import { InlineTeam, type Team } from "../team.ts";
import { Turns } from "../turns.ts";
import type { Counters } from "./bank.ts";
import { CpuPlace } from "./cpu_place.ts";
import { type KernelModule, loadKernels } from "./kernels.ts";
import type { CpuTeamOptions } from "./messages.ts";
import { ThreadTeam } from "./thread_team.ts";

/** How loading is watched and stopped. */
export interface LoadControl {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** What to load, and how; the plan is made here. */
export interface CpuStartOptions extends Omit<CpuTeamOptions, "plan"> {
  /** Orders the neurons, and says which are hot. */
  readonly profile?: Profile;
}

/**
 * Loads the model's weights onto `threads` CPU places of equal share. With 0
 * threads, or where workers or shared memory are missing or not permitted, one
 * place runs in the caller's thread, and the description says why.
 *
 * @throws {LimitError} where a share does not fit one WASM memory
 */
export async function startCpuTeam(
  source: ByteSource,
  threads: number,
  { profile, ...options }: CpuStartOptions,
  control: LoadControl = {},
): Promise<Team> {
  const kernels = await loadKernels();
  const name = `WASM ${kernels.name}`;
  if (threads === 0) {
    const plan = splitEvenly(options.model, 1, profile);
    const all = { ...options, plan };
    return startInline(`${name}, inline`, kernels, source, all, control);
  }
  let reason = missingForThreads();
  if (!reason) {
    const plan = splitEvenly(options.model, threads, profile);
    try {
      return await ThreadTeam.start(
        `${name}, ${threads} ${threads === 1 ? "thread" : "threads"}`,
        kernels.module,
        { ...options, plan },
        source,
        loadProgress(options.model, plan, control),
      );
    } catch (error) {
      if (!(error instanceof PlaceError)) throw error;
      reason = error.message;
    }
  }
  const plan = splitEvenly(options.model, 1, profile);
  const description = `${name}, inline (${reason})`;
  return startInline(
    description,
    kernels,
    source,
    { ...options, plan },
    control,
  );
}

async function startInline(
  description: string,
  { module }: KernelModule,
  source: ByteSource,
  options: CpuTeamOptions,
  control: LoadControl,
): Promise<Team> {
  const { model, plan, sparsity, limits, countNeurons, keepNormed } = options;
  const neurons = countNeurons ? new NeuronCounts(model) : undefined;
  const normed = keepNormed ? new NormedStates(model, limits) : undefined;
  const progress = loadProgress(model, plan, control);
  const places = await progress.untilAborted(
    loadCpuPlaces(module, source, options, progress, { neurons, normed }),
  );
  return new InlineTeam(
    description,
    model,
    plan,
    places,
    sparsity,
    limits,
    neurons,
    normed,
  );
}

/** Loads every place of a plan in the caller's thread, each with a memory of its own. */
export async function loadCpuPlaces(
  module: WebAssembly.Module,
  source: ByteSource,
  options: CpuTeamOptions,
  progress: LoadProgress,
  { neurons, normed }: Omit<Counters, "layers"> = {},
): Promise<CpuPlace[]> {
  const layers = options.model.layers.length;
  const places = options.plan.places.map((plan, i) =>
    new CpuPlace(module, { ...options, plan }, {
      layers: new LayerCounts(layers),
      neurons,
      normed: i === 0 ? normed : undefined,
    })
  );
  const spares: ArrayBuffer[] = [];
  const turns = new Turns();
  for (const place of places) {
    for (const slice of allSlices(place.slices)) {
      for await (const rows of readRows(source, slice, spares)) {
        place.write(slice, rows);
        spares.push(rows.bytes.buffer);
        progress.add(rows.bytes.length);
        if (turns.due) await turns.give();
      }
    }
    place.ready();
  }
  return places;
}

/** What the engine lacks to run threads, if anything. */
function missingForThreads(): string | undefined {
  if (typeof Worker === "undefined") return "Workers are missing here";
  if (typeof SharedArrayBuffer === "undefined") {
    return "SharedArrayBuffer is missing here";
  }
  if (typeof Atomics.waitAsync === "undefined") {
    return "Atomics.waitAsync is missing here";
  }
}

function loadProgress(
  model: Model,
  plan: Plan,
  { onProgress, signal }: LoadControl,
): LoadProgress {
  let total = 0;
  for (const place of plan.places) {
    for (const slice of allSlices(slicesOf(model, place))) {
      total += sliceBytes(slice);
    }
  }
  return new LoadProgress(total, onProgress, signal);
}
