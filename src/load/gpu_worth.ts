/** Whether it is worth looking for a GPU; what one does is loaded only then. */
import type { LoadOptions } from "./load_options.ts";

/** Models of fewer bytes are left to the CPU unless a GPU is required: starting kernels would take longer. */
const leastGpuBytes = 2 ** 28;

/** Whether a GPU, if there is one, takes part in running a model of so many bytes. A plan that is given is carried out however small the model is. */
export function isGpuWorth(
  { gpu = "auto", gpuLayers, gpuPlan }: Pick<
    LoadOptions,
    "gpu" | "gpuLayers" | "gpuPlan"
  >,
  bytes: number,
): boolean {
  if (gpu === "off" || gpuLayers === 0) return false;
  return gpu === "require" || gpuPlan !== undefined || bytes >= leastGpuBytes;
}
