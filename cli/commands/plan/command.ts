import { LimitError } from "../../../mod.ts";
import {
  assumedGpu,
  findGpu,
  firingOfLayers,
  type KnownMachine,
  knownMachines,
} from "../../../plan.ts";
import { describeModel, type Model, readGguf } from "../../../gguf.ts";
import type { CommandSpec } from "../../command.ts";
import { gpuOptions } from "../../gpu_options.ts";
import {
  findGpuIndex,
  type FoundGpuIndex,
  gpuIndexPathOf,
  indexOf,
} from "../../model_gpu_index.ts";
import { openModel } from "../../model_file.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import { jsonFlag, modelOptions, planningOptions } from "../../options.ts";
import { openIfGiven } from "../../output_flags.ts";
import {
  countedFor,
  limitsOf,
  machineBudget,
  machineHere,
  requestFor,
} from "./inputs.ts";
import { toSvg } from "./svg.ts";
import { toJson, toText } from "./text.ts";
import {
  plan as makePlan,
  type PlanReport,
  type PlanRequest,
} from "./planning.ts";
import { bamboo7b, knownText, predictKnown } from "./published_machines.ts";
import { writeDrawing } from "../../svg.ts";
import { note, printable, write } from "../../terminal.ts";

const machines = Object.keys(knownMachines);

const options = {
  Plan: {
    machine: {
      enum: machines,
      defaultText: "this one, measured",
      flag: "--machine <name>",
      description: `plan for a known machine (${
        machines.join(", ")
      }); without -m: for Bamboo-7B, beside the published figures`,
    },
    output: {
      type: "string",
      flag: "-o, --output <file>",
      description: "write which neurons go to the GPU, as PowerInfer's .gpuidx",
    },
    svg: {
      type: "string",
      flag: "--svg <file>",
      description:
        "draw the plan, by layer; as PDF where the name ends in .pdf",
    },
    json: jsonFlag,
    force: {
      type: "boolean",
      flag: "--force",
      description: "replace files that are there",
    },
  },
  Model: modelOptions,
  GPU: gpuOptions,
  Running: planningOptions,
} as const satisfies FlagGroups;

type PlanFlags = FlagsOfGroups<typeof options>;

/** Context of a plan without a model, where `-c` does not say. */
const usualContext = 4096;

/** Plans, and writes nothing but the plan. */
export const plan: CommandSpec = {
  name: "plan",
  summary:
    "show what of a model would go to a GPU, and how fast it would be; reads the header only",
  options,
  readsHeader: () => true,
  examples: [
    "culm plan -m model.gguf --vram-budget 6",
    "culm plan -m model.gguf --profile activation --svg plan.svg -o model.gguf.generated.gpuidx",
    "culm plan --machine rtx-2080ti",
  ],
  run,
};

async function run(flags: PlanFlags): Promise<number> {
  const force = flags.force || flags.resetGpuIndex;
  const made = "generated.gpuidx";
  using index = await openIfGiven(outputOf(flags), { ...flags, force }, {
    made,
  });
  using picture = await openIfGiven(flags.svg, flags);
  const isKnown = flags.machine !== undefined && flags.model === undefined;
  const report = isKnown ? await planKnown(flags) : await planModel(flags);
  await write(flags.json ? toJson(report) : toText(report));
  if (isKnown && !flags.json) {
    const rows = predictKnown(
      [flags.machine!],
      report,
      (machine) => machineBudget(flags, machine),
    );
    await write(`\n${knownText(rows)}`);
  }
  if (picture) await writeDrawing(picture, await toSvg(report));
  if (index) {
    const { model, gpu, budget, bytes } = report;
    const capacity = Number.isFinite(budget) ? budget : bytes;
    await index.write([indexOf(model, gpu, capacity)]);
    note(`wrote ${printable(index.path)}`);
  }
  return 0;
}

/** Where an index goes, where one is requested. */
function outputOf(flags: PlanFlags): string | undefined {
  const { output, resetGpuIndex, machine, model } = flags;
  if (output !== undefined && machine !== undefined && model === undefined) {
    throw new BadFlags(
      "Cannot write an index of a model that is not there: -o needs -m",
    );
  }
  if (output !== undefined || !resetGpuIndex) return output;
  const path = gpuIndexPathOf(flags);
  if (path === undefined) {
    throw new BadFlags(
      "Cannot tell where the index should go: give -o FILE, or -m with a local file",
    );
  }
  return path;
}

async function planKnown(flags: PlanFlags): Promise<PlanReport> {
  const model = await bamboo7b();
  const machine = knownMachines[flags.machine!];
  return makePlan({
    ...limitsOf(flags, model, flags.contextSize || usualContext),
    name: "Bamboo-7B F16",
    machine,
    budget: machineBudget(flags, machine),
    firing: firingOfLayers(model, undefined, "bamboo"),
    firingSource: "distributed as published for Bamboo-7B",
  });
}

async function planModel(flags: PlanFlags): Promise<PlanReport> {
  const source = await openModel(flags);
  try {
    const file = await readGguf(source);
    const model = describeModel(file, flags);
    const counted = await countedFor(flags, file, model);
    const index = await findGpuIndex(flags, () => model);
    // What is wrong with the files is reported before the machine is measured.
    const machine = flags.machine === undefined
      ? await thisMachine(model, flags)
      : knownMachines[flags.machine];
    const contextSize = flags.contextSize || model.contextSize;
    const request = requestFor(flags, model, machine, counted, contextSize);
    return planWithIndex(flags, request, index);
  } finally {
    await source.close();
  }
}

/** This machine, measured; a GPU that is not there is assumed. */
async function thisMachine(
  model: Model,
  { sparsity, memoryBudget }: PlanFlags,
): Promise<KnownMachine> {
  const isBudgeted = memoryBudget !== undefined;
  const found = isBudgeted ? undefined : await findGpu();
  const gpu = found?.isSoftware ? undefined : found;
  const { hardwareConcurrency } = navigator;
  const machine = await machineHere(
    model,
    hardwareConcurrency,
    gpu,
    sparsity,
  );
  return gpu || isBudgeted ? machine : {
    ...machine,
    gpu: assumedGpu,
    description:
      `${machine.description}; no GPU here, so one is assumed, of 360 GB/s and 12 GB`,
  };
}

/** Plans as an index says. One that was not requested is left out where it does not fit. */
function planWithIndex(
  { gpuIndex }: PlanFlags,
  request: PlanRequest,
  index: FoundGpuIndex | undefined,
): PlanReport {
  if (!index) return makePlan(request);
  const path = printable(index.path);
  try {
    const report = makePlan(request, index.layers);
    note(`neurons on the GPU: as ${path} says`);
    return report;
  } catch (error) {
    if (!(error instanceof LimitError) || gpuIndex !== undefined) throw error;
    note(`warning: ${error.message}; going on without ${path}`);
    return makePlan(request);
  }
}
