/**
 * What a plan rests on: the machine at hand, how often neurons fire, and what
 * the flags ask to hold.
 *
 * @module
 */
import {
  checkProfile,
  firingOfLayers,
  type FoundGpu,
  type KnownMachine,
  measureMachine,
  type Profile,
  profileOf,
  type Residents,
  residentsWithin,
} from "../../../plan.ts";
import type { Sparsity } from "../../../mod.ts";
import { type GgufFile, isSparse, type Model } from "../../../gguf.ts";
import { findProfile } from "../../model_profile.ts";
import { budgetOf, type GpuFlags } from "../../gpu_options.ts";
import { cacheTypeOf, type LoadFlags } from "../../options.ts";
import { type PlanRequest, typicalPositions } from "./planning.ts";

/** This machine, measured with `threads` threads, and with a GPU where one is given. */
export async function machineHere(
  model: Model,
  threads: number,
  gpu: FoundGpu | undefined,
  sparsity?: Sparsity,
): Promise<KnownMachine> {
  const measured = await measureMachine(
    model,
    threads,
    gpu !== undefined,
    { sparsity },
  );
  const cpu = `this machine, measured: ${threads} thread${
    threads === 1 ? "" : "s"
  }`;
  return { ...measured, description: gpu ? `${cpu}, ${gpu.name}` : cpu };
}

/** How often neurons fire, and what that rests on, for people. */
export type Counted = Pick<PlanRequest, "profile" | "firingSource">;

/** How often neurons fire, as the flags, a file beside the model or the model's own file tell. */
export async function countedFor(
  flags: LoadFlags,
  file: GgufFile,
  model: Model,
): Promise<Counted> {
  const { profile: path } = flags;
  const counted = (profile: Profile, where: string) => {
    checkProfile(profile, model);
    return { profile, firingSource: `${profile.tokens} tokens, ${where}` };
  };
  const found = await findProfile(flags, () => model);
  if (found) return counted(found.profile, `from ${found.path}`);
  const own = path === false ? undefined : profileOf(file, model);
  if (own) return counted(own, "in the model file");
  return {
    firingSource: isSparse(model.activation)
      ? "every neuron alike, as often as Bamboo-7B's on average: which are hot, a profile says (culm profile)"
      : `every neuron for every token: activation ${model.activation} is never zero`,
  };
}

/** What to plan for the model that the flags name. */
export function requestFor(
  flags: LoadFlags & GpuFlags,
  model: Model,
  machine: KnownMachine,
  counted: Counted,
  contextSize: number,
): PlanRequest {
  // With a budget of memory, all runs on the CPU.
  if (flags.memoryBudget !== undefined) {
    machine = { ...machine, gpu: undefined };
  }
  return {
    ...limitsOf(flags, model, contextSize),
    ...counted,
    residents: residentsOf(flags, model, counted, contextSize),
    name: flags.model ?? "tiny-bamboo",
    machine,
    budget: machineBudget(flags, machine),
    firing: firingOfLayers(model, counted.profile, "even"),
  };
}

/** What is in memory, where the flags' budget does not hold all. */
function residentsOf(
  flags: LoadFlags,
  model: Model,
  { profile }: Counted,
  contextSize: number,
): Residents | undefined {
  const { memoryBudget, batchSize } = flags;
  if (memoryBudget === undefined) return undefined;
  return residentsWithin(
    Math.floor(memoryBudget * 2 ** 30),
    model,
    {
      contextSize,
      batchSize,
      cacheType: cacheTypeOf(flags),
      threads: navigator.hardwareConcurrency,
    },
    flags.sparsity,
    profile,
  );
}

/** Bytes of a machine's GPU that the flags let a plan take. */
export function machineBudget(
  flags: Pick<GpuFlags, "vramBudget">,
  { gpu }: KnownMachine,
): number {
  return budgetOf(flags, gpu?.memory ?? 0);
}

/** What the flags say that a plan must hold. */
export function limitsOf(
  flags: LoadFlags & GpuFlags,
  model: Model,
  contextSize: number,
): Omit<
  PlanRequest,
  "name" | "machine" | "budget" | "firing" | "firingSource" | "profile"
> {
  return {
    model,
    sparsity: flags.sparsity,
    cacheType: cacheTypeOf(flags),
    gpuLayers: flags.gpuLayers,
    contextSize,
    batchSize: Math.min(flags.batchSize, contextSize),
    positions: Math.min(contextSize, typicalPositions),
  };
}
