/** From a model's file to a model that runs. */
import type { ByteSource } from "../bytes/byte_source.ts";
import { fingerprintOf } from "../bytes/fingerprint.ts";
import { Engine } from "../engine/engine.ts";
import { ThreadChoice } from "../engine/thread_choice.ts";
import { GpuError, UsageError } from "../errors.ts";
import { readGguf } from "../formats/gguf/read.ts";
import { LanguageModel } from "../generate/language_model.ts";
import {
  checkLoadOptions,
  checkPredictor,
  type LoadOptions,
} from "./load_options.ts";
import { doubtOfName } from "./activation_doubt.ts";
import { isGpuWorth } from "./gpu_worth.ts";
import { describeModel, type Model } from "../model/model.ts";
import { type ModelSource, openModel } from "./model_source.ts";
import { pagesFor } from "../places/batch.ts";
import { untilAborted } from "../platform/abort.ts";
import { Opened } from "../platform/opened.ts";
import {
  type LoadControl,
  type StartOptions,
  startTeam,
} from "../places/start.ts";
import type { Team } from "../places/team.ts";
import type { PlacePlan } from "../plan/plan.ts";
import { checkProfile } from "../plan/profile.ts";
import { profileOf } from "../plan/own_profile.ts";
import { tokenizerIfAny } from "../tokenizer/gguf.ts";

/**
 * Loads a GGUF or PowerInfer file, or a Hugging Face folder; `hf:OWNER/REPO:QUANT`
 * is one of the hub, which is fetched into Hugging Face's cache where that may be
 * read and written, and else read from where it is. Where workers or a
 * GPU take part, a `ByteSource` must stay open while the model runs: should one
 * of them fail, the weights are read again. So it must for `save` and `restore`,
 * which look at samples of it.
 *
 * @throws {FormatError} where the file is damaged
 * @throws {UnsupportedError} where it holds what culm cannot run
 * @throws {LimitError} where it does not fit
 * @throws {UsageError} for options out of range
 * @throws {GpuError} where a GPU is required, and cannot be used
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo(), { threads: 1 });
 * let story = "Once upon a time";
 * for await (const piece of model.generate(story, { maxTokens: 8, seed: 1 })) {
 *   story += piece.text;
 * }
 * console.log(story);
 * ```
 */
export async function load(
  source: ModelSource,
  options: LoadOptions = {},
): Promise<LanguageModel> {
  const checked = checkLoadOptions(options);
  const begun = performance.now();
  await using opened = new Opened();
  const { signal } = options;
  // Ends with the loading: a model that is loaded may read its file again.
  const requests = new AbortController();
  const abort = () => requests.abort(signal?.reason);
  const detach = () => signal?.removeEventListener("abort", abort);
  signal?.addEventListener("abort", abort);
  opened.defer(detach);
  if (signal?.aborted) abort();
  const open = async (source: ModelSource): Promise<ByteSource> => {
    const { signal } = requests;
    const bytes = await openModel(source, { signal }, {
      signal,
      onWarning: options.onWarning,
      onProgress: ({ loaded, total }) =>
        options.onProgress?.({ stage: "download", loaded, total }),
    });
    if (bytes !== source) opened.defer(() => bytes.close());
    return bytes;
  };
  const bytes = await open(source);
  const file = await untilAborted(readGguf(bytes), signal);
  const described = describeModel(file, options);
  const predictor = options.predictor === undefined
    ? undefined
    : await open(options.predictor);
  const { model, source: all } = predictor
    ? await untilAborted(predicted(described, bytes, predictor), signal)
    : { model: described, source: bytes };
  checkPredictor(model, checked.sparsity, predictor !== undefined);
  const profile = options.profile === false
    ? undefined
    : options.profile ?? profileOf(file, model);
  if (profile) checkProfile(profile, model);
  else if (checked.hotShare) {
    throw new UsageError(
      `Cannot use hotShare ${checked.hotShare}: no profile says which neurons are hot`,
    );
  }
  const tokenizer = tokenizerIfAny(file);
  const warn = options.onWarning ?? (() => {});
  for (const each of [file, tokenizer]) each?.notes?.forEach(warn);
  const doubt = options.activation ? undefined : doubtOfName(model, bytes.name);
  if (doubt) warn(doubt);
  const contextSize = checked.contextSize || model.contextSize;
  if (contextSize > model.contextSize) {
    warn(
      `The context has ${contextSize} positions, and the model was made for ${model.contextSize}: beyond these its texts may make no sense`,
    );
  }
  const places: StartOptions = {
    model,
    sparsity: checked.sparsity,
    cacheType: checked.cacheType,
    measureRecall: checked.measureRecall,
    screenHead: checked.screenHead,
    profile,
    hotShare: checked.hotShare,
    countNeurons: checked.countNeurons,
    keepFfnInputs: checked.keepFfnInputs,
    gpuBytes: checked.gpuBytes,
    memoryBudget: checked.memoryBudget,
    cacheSize: checked.cacheSize,
    limits: { tokens: Math.min(checked.batchSize, contextSize), contextSize },
  };
  const sample = () =>
    fingerprintOf(new TextEncoder().encode(model.activation), [all]);
  // What came as bytes is not held on to for that.
  const fingerprint = source instanceof Uint8Array
    ? underWay(sample())
    : once(sample);
  const { threads } = checked;
  const startOn = (
    gpuPlan: PlacePlan | undefined,
    count = threads,
    control?: LoadControl,
  ) => startTeam(all, count, { ...places, gpuPlan }, control);
  const teamStart = performance.now();
  const start = (gpuPlan?: PlacePlan) => startOn(gpuPlan, threads, options);
  let team: Team;
  if (isGpuWorth(options, weightBytes(model))) {
    const { startWithGpu } = await import("./plan_gpu.ts");
    team = await startWithGpu(places, threads, options, start, warn);
  } else team = await start();
  await untilAborted(bytes.whole ?? Promise.resolve(), signal)
    .catch(async (error) => {
      await team[Symbol.asyncDispose]();
      throw error;
    });
  detach();
  // A budget counts keys and values of one context.
  const budgetedPositions = checked.memoryBudget === undefined
    ? 0
    : contextSize;
  const isReplaceable = threads > 0 || team.gpu !== undefined;
  let { gpu: gpuPlan } = team.options.plan;
  // With a GPU or a border that is given, the number of threads shows in texts.
  const isFixed = options.threads !== undefined || bytes.isRemote ||
    gpuPlan !== undefined || checked.hotShare !== undefined ||
    checked.keepFfnInputs || checked.memoryBudget !== undefined;
  const count = team.options.plan.places.length;
  const choice = isFixed || count < 2
    ? undefined
    : new ThreadChoice(count, performance.now() - teamStart);
  const restart = (reason: unknown) => {
    if (reason !== choice) {
      const isGpu = reason instanceof GpuError;
      if (isGpu) gpuPlan = undefined;
      const next = isGpu ? "going on with the CPU" : "starting again";
      warn(`${reason instanceof Error ? reason.message : reason}; ${next}`);
    }
    return startOn(gpuPlan, choice?.count);
  };
  return new LanguageModel(
    file,
    model,
    new Engine(team, model.vocabSize, {
      restart: isReplaceable ? restart : undefined,
      threads: choice,
      mostPages: pagesFor(checked.cacheSize || budgetedPositions) ||
        undefined,
      keepsPast: checked.prefixCache,
    }),
    performance.now() - begun,
    tokenizer,
    profile,
    isReplaceable || !(source instanceof Uint8Array)
      ? opened.move()
      : undefined,
    fingerprint,
  );
}

/** A model with the predictor of another file, whose reader is loaded only where it is wanted. */
async function predicted(
  model: Model,
  source: ByteSource,
  predictor: ByteSource,
): Promise<{ model: Model; source: ByteSource }> {
  const { withPredictor } = await import("../model/predictor_file.ts");
  return await withPredictor(model, source, predictor);
}

function weightBytes(model: Model): number {
  const { token_embd, output, layers } = model;
  const all = [token_embd, output, ...layers.flatMap(Object.values)];
  return all.reduce((sum, tensor) => sum + (tensor?.byteLength ?? 0), 0);
}

/** Gives what `make` makes when that is first needed. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => made ??= make();
}

/** Gives what is being made; whether that fails matters to those who ask. */
function underWay<T>(made: Promise<T>): () => Promise<T> {
  made.catch(() => {});
  return () => made;
}
