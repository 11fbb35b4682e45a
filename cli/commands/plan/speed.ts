/**
 * How fast a model would be here, by its header.
 *
 * @module
 */
import { profileOf } from "../../../src/plan/own_profile.ts";
import { findGpu, firingOfLayers } from "../../../plan.ts";
import type { Inspection } from "../inspect/inspection.ts";
import { machineHere } from "./inputs.ts";
import { predictBest, tokensPerSecond, typicalPositions } from "./planning.ts";

/** What is predicted of a model that runs here, after measuring this machine: `about 12.3 tokens/s predicted`. */
export async function speedText(
  { name, file, model, memory }: Partial<Inspection>,
): Promise<string | undefined> {
  if (!file || !model || !memory) return undefined;
  const found = model.routing ? undefined : await findGpu();
  const gpu = found?.isSoftware ? undefined : found;
  const machine = await machineHere(model, navigator.hardwareConcurrency, gpu);
  const { contextSize, cacheType, batchSize } = memory;
  const prediction = predictBest({
    name: name ?? "",
    model,
    machine,
    sparsity: { mode: "exact" },
    firing: firingOfLayers(model, profileOf(file, model), "even"),
    firingSource: "",
    budget: machine.gpu?.memory ?? 0,
    contextSize,
    batchSize: Math.min(batchSize, contextSize),
    cacheType,
    positions: Math.min(contextSize, typicalPositions),
  });
  const rate = Number(tokensPerSecond(prediction).toPrecision(3));
  return `about ${rate} tokens/s predicted, ${machine.description}`;
}
