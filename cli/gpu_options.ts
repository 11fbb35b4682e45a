/**
 * The flags that say how much of a model goes to a GPU, with llama.cpp's and
 * PowerInfer's names.
 *
 * @module
 */
import type { Option } from "commander";
import type { GpuMode } from "../mod.ts";
import { group, option } from "./option.ts";
import { numberBetween, oneOf, wholeNumber } from "./values.ts";

/** How much of a model goes to a GPU, and which of its neurons. */
export interface GpuFlags {
  /** GiB; below 0 = all there is */
  readonly vramBudget: number;
  readonly nGpuLayers?: number;
  /** A file's name, in place of the one beside the model */
  readonly gpuIndex?: string;
  readonly resetGpuIndex?: true;
  readonly disableGpuIndex?: true;
}

/** Whether a GPU takes part in a run, and with what. */
export interface RunGpuFlags extends GpuFlags {
  readonly gpu: GpuMode;
}

const budgets = [
  option(
    "--vram-budget <GiB>",
    "memory of the GPU that may be taken, keys and values included; -1 = all",
    numberBetween(-1, 4096),
    -1,
  ),
  option(
    "-ngl, --n-gpu-layers <n>",
    "most layers that have anything on the GPU; one more than there are takes the output head too (default: all)",
    wholeNumber(0),
  ),
  option(
    "--gpu-index <file>",
    "which neurons go to the GPU, in PowerInfer's form (default: MODEL.generated.gpuidx or MODEL.gpuidx, where there is one)",
  ),
  option(
    "--reset-gpu-index",
    "plan anew, and write MODEL.generated.gpuidx",
  ),
  option("--disable-gpu-index", "plan anew, and read and write no such file"),
];

/** Options that give {@linkcode GpuFlags}. */
export const gpuOptions: readonly Option[] = group("GPU", ...budgets);

/** Options that give {@linkcode RunGpuFlags}. */
export const runGpuOptions: readonly Option[] = group(
  "GPU",
  option(
    "--gpu <mode>",
    "off, auto (a real GPU, for models of 256 MiB or more) or require (also one in software, and an error where there is none)",
    oneOf("off", "auto", "require"),
    "auto",
  ),
  ...budgets,
);

/** The budget in bytes, of a GPU that has `memory` bytes. */
export function budgetOf(
  { vramBudget }: Pick<GpuFlags, "vramBudget">,
  memory: number,
): number {
  return vramBudget < 0
    ? memory
    : Math.min(memory, Math.floor(vramBudget * 2 ** 30));
}
