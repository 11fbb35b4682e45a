/**
 * The flags that say how much of a model goes to a GPU, with llama.cpp's and
 * PowerInfer's names.
 *
 * @module
 */
import { loadOptions } from "../mod.ts";
import type { FlagsOf, FlagTable } from "./option.ts";

const { gpu, vramBudget, gpuLayers } = loadOptions;

/** How much of a model goes to a GPU, and which of its neurons. */
export const gpuOptions = {
  vramBudget,
  gpuLayers,
  gpuIndex: {
    type: "string",
    flag: "--gpu-index <file>",
    defaultText: "MODEL.generated.gpuidx or MODEL.gpuidx, where there is one",
    description: "which neurons go to the GPU, in PowerInfer's form",
  },
  resetGpuIndex: {
    type: "boolean",
    flag: "--reset-gpu-index",
    description: "plan anew, and write MODEL.generated.gpuidx",
  },
  disableGpuIndex: {
    type: "boolean",
    flag: "--disable-gpu-index",
    description: "plan anew, and read and write no such file",
  },
} as const satisfies FlagTable;

/** What {@linkcode gpuOptions} give. */
export type GpuFlags = FlagsOf<typeof gpuOptions>;

/** Whether a GPU takes part in a run, and with what. */
export const runGpuOptions = {
  gpu,
  ...gpuOptions,
} as const satisfies FlagTable;

/** What {@linkcode runGpuOptions} give. */
export type RunGpuFlags = FlagsOf<typeof runGpuOptions>;

/** The budget in bytes, of a GPU that has `memory` bytes. */
export function budgetOf(
  { vramBudget }: Pick<GpuFlags, "vramBudget">,
  memory: number,
): number {
  return vramBudget < 0
    ? memory
    : Math.min(memory, Math.floor(vramBudget * 2 ** 30));
}
