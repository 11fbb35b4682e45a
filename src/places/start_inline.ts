/** Starts the places of a team in the caller's thread. */
import type { ByteSource } from "../bytes/byte_source.ts";
import { assumedRates } from "./cpu/rates.ts";
import { FfnInputs } from "./ffn_inputs.ts";
import { InlineTeam } from "./inline_team.ts";
import { loadCpuPlaces } from "./load_places.ts";
import type { LoadProgress } from "./load_progress.ts";
import { NeuronCounts } from "./neuron_counts.ts";
import { ScoreCounts } from "./score_counts.ts";
import type { TeamOptions } from "./team.ts";

/** Models of fewer bytes have written their first tokens before kernels would be measured. */
const smallBytes = 2 ** 24;

/** Loads all that a plan says in the caller's thread. */
export async function startInline(
  description: string,
  module: WebAssembly.Module,
  source: ByteSource,
  options: TeamOptions,
  progress: LoadProgress,
): Promise<InlineTeam> {
  const { model, plan, limits } = options;
  const neurons = new NeuronCounts(model);
  if (options.countNeurons) neurons.countAll();
  const kept = {
    neurons,
    ffnInputs: options.keepFfnInputs ? new FfnInputs(model, limits) : undefined,
    scores: options.measureRecall
      ? new ScoreCounts(model.layers.length)
      : undefined,
  };
  const isMeasured = options.forPlan || progress.total > smallBytes;
  const rates = options.rates ?? (isMeasured ? undefined : assumedRates);
  const loadGpu = async () => {
    const { loadGpuPlace } = await import("./load_gpu_place.ts");
    return await loadGpuPlace(source, options, progress);
  };
  const gpu = plan.gpu && await progress.untilAborted(loadGpu());
  const cpu = await progress.untilAborted(
    loadCpuPlaces(module, source, { ...options, rates }, progress, kept),
  );
  const sides = { cpu, gpu };
  return new InlineTeam(description, options, sides, kept);
}
