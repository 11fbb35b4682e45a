/**
 * culm runs ReLU-sparse language models in one sandbox: WASM kernels on every
 * core, no native code, no permission needed.
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { tinyBamboo } from "@culm/culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * for await (const piece of model.generate("Once upon a time", { maxTokens: 8 })) {
 *   console.log(piece.text);
 * }
 * ```
 *
 * @module
 */
export * from "./src/errors.ts";
export type { ByteSource } from "./src/bytes/byte_source.ts";
export { openFile } from "./src/bytes/file.ts";
export { fromBlob, fromBuffer } from "./src/bytes/memory.ts";
export { fromUrl } from "./src/bytes/url.ts";
export { type Folder, isFolder, openFolder } from "./src/bytes/folder.ts";
export {
  type GgufFile,
  type GgufMagic,
  type MetadataArray,
  type MetadataEntry,
  type MetadataType,
  type MetadataValue,
  readGguf,
  type TensorInfo,
} from "./src/formats/gguf/read.ts";
export {
  readTorch,
  tensorsOf,
  type TorchDtype,
  TorchStorage,
  TorchTensor,
  type TorchValue,
} from "./src/formats/torch/read.ts";
export {
  readSafetensors,
  type SafetensorsDtype,
  type SafetensorsTensor,
} from "./src/formats/safetensors/read.ts";
export type {
  GgufParts,
  TensorPart,
  TensorToWrite,
} from "./src/formats/gguf/write.ts";
export type { GgmlType } from "./src/formats/ggml/types.ts";
export { type Activation, isSparse } from "./src/model/activation.ts";
export {
  describeModel,
  type LayerTensors,
  type Model,
  type ModelOptions,
} from "./src/model/model.ts";
export type { Rope } from "./src/model/rope.ts";
export {
  type Dimension,
  type LayerTensorName,
  layerWeights,
  type LinearName,
  type OptionalTensorName,
  type PerLayer,
  type PerTensor,
  type TensorSchema,
} from "./src/model/schema.ts";
export type { Rates } from "./src/plan/rates.ts";
export {
  assumedFiring,
  bambooCdf,
  type Distribution,
  firingOfLayers,
} from "./src/plan/firing.ts";
export {
  type CostOptions,
  type Costs,
  costsOf,
  type LayerCosts,
  type SideMs,
} from "./src/plan/costs.ts";
export { layerBytes } from "./src/plan/gpu_plan.ts";
export { type IndexSet, listOf, type Range } from "./src/model/index_set.ts";
export {
  assumedGpu,
  type CpuRates,
  type GpuRates,
  type KnownMachine,
  knownMachines,
  type Machine,
} from "./src/plan/machine.ts";
export type { Part, PartInputs, PlacePlan } from "./src/plan/plan.ts";
export {
  type LayerPrediction,
  predict,
  type Prediction,
} from "./src/plan/prediction.ts";
export { type Solution, solve, type SolveOptions } from "./src/plan/solve.ts";
export {
  powerInferSplit,
  splitByFrequency,
  type SplitOptions,
  uniformSplit,
} from "./src/plan/splits.ts";
export type { Side } from "./src/plan/schedule.ts";
export {
  type ActivationCdf,
  activationCdf,
  activationShare,
  checkProfile,
  type Firing,
  type LayerProfile,
  meanActivationShare,
  mergeProfiles,
  type Profile,
} from "./src/plan/profile.ts";
export {
  mostProfileTokens,
  type ProfileFile,
  type ProfileProgress,
  readProfile,
  writeProfile,
} from "./src/plan/profile_file.ts";
export {
  checkGpuIndex,
  type GpuIndex,
  readGpuIndex,
  writeGpuIndex,
} from "./src/plan/gpu_index.ts";
export {
  activationFileLayer,
  type PowerInferProfileOptions,
  readPowerInferProfile,
} from "./src/plan/powerinfer_profile.ts";
export { profileOf, reorderNeurons } from "./src/plan/reorder.ts";
export { parseSparsity, type Sparsity } from "./src/plan/sparsity.ts";
export { measureMachine } from "./src/places/measure_machine.ts";
export {
  deviceBytes,
  type LayoutOptions,
} from "./src/places/gpu/memory/layout.ts";
export type { BatchLimits } from "./src/places/batch.ts";
export type { GpuCounts, GpuStats } from "./src/places/gpu_stats.ts";
export { type CacheType, kvPositionBytes } from "./src/places/cache_type.ts";
export {
  estimateMemory,
  type MemoryEstimate,
  type MemoryOptions,
} from "./src/places/cpu/memory_estimate.ts";
export type { FfnInputs } from "./src/places/ffn_inputs.ts";
export type { Progress } from "./src/places/load_progress.ts";
export {
  bytesRead,
  type CountName,
  type LayerStats,
  type PlaceStats,
  statsSince,
  totalOf,
} from "./src/places/stats.ts";
export type { Sequence } from "./src/engine/sequence.ts";
export type { Session } from "./src/generate/session.ts";
export type { Engine, SequenceOptions } from "./src/engine/engine.ts";
export type { Activity, Lane, TraceEvent } from "./src/places/trace.ts";
export type { WantLogits } from "./src/engine/scheduler.ts";
export {
  type GenerateOptions,
  type Piece,
  type Summary,
  textOptions,
} from "./src/generate/generate.ts";
export type {
  Checked,
  CheckedValue,
  OptionsOf,
  OptionSpec,
  OptionTable,
  SchemaOf,
  TypesOf,
  ValueOf,
} from "./src/options.ts";
export type { ChatTurn, TextPart } from "./src/generate/chat_messages.ts";
export type { Logits, TopLogits } from "./src/sampling/logits.ts";
export type { SampledToken } from "./src/sampling/logprobs.ts";
export {
  type CheckedSamplingOptions,
  checkSamplingOptions,
  parseSamplers,
  type SamplerName,
  type SamplingOptions,
  samplingOptions,
} from "./src/sampling/options.ts";
export { tokensContaining } from "./src/sampling/penalties.ts";
export {
  checkPredictorOptions,
  defaultRank,
  makePredictor,
  type MakePredictorOptions,
  type TrainingOptions,
} from "./src/lab/predictor/make_predictor.ts";
export {
  type EvaluatedModel,
  type EvaluateOptions,
  evaluateTask,
  type Outcome,
  questionsOf,
} from "./src/lab/eval/evaluate.ts";
export { type MetricSummary, summarise } from "./src/lab/eval/summary.ts";
export {
  type Candidate,
  type ChoiceItem,
  type ClozeItem,
  type EvalTask,
  type GenerationItem,
  type Item,
  readItems,
  TaskRecord,
} from "./src/lab/eval/task.ts";
export { evalTasks } from "./src/lab/eval/tasks.ts";
export {
  estimatePerplexity,
  type PerplexityEstimate,
  scoreChunks,
  type ScoreOptions,
  textChunks,
  type TextScore,
} from "./src/lab/perplexity.ts";
export {
  fingerprintOf,
  type PredictorForm,
  type PredictorToWrite,
  writePredictor,
} from "./src/model/predictor_file.ts";
export type {
  MadeLayer,
  OnTrainingStep,
} from "./src/lab/predictor/predictor_plan.ts";
export type { StoredTensor } from "./src/lab/predictor/stored.ts";
export { collectStates, type States } from "./src/lab/predictor/ffn_inputs.ts";
export {
  type PredictorOptions,
  type SynthOptions,
  type SynthShape,
  synthShapes,
} from "./src/lab/synth/options.ts";
export { asType, synthModel } from "./src/lab/synth/synth_model.ts";
export {
  synthesiseFolder,
  type SynthFolder,
  type SynthFolderFile,
} from "./src/lab/synth/folder.ts";
export { synthesise, type SynthFile } from "./src/lab/synth/synthesise.ts";
export {
  type Conversion,
  convert,
  type ConvertOptions,
} from "./src/convert/convert.ts";
export { type ConvertType, convertTypes } from "./src/convert/choose_types.ts";
export type { Form } from "./src/convert/contents.ts";
export { viewFolder } from "./src/convert/view.ts";
export {
  type ChatMessage,
  ChatTemplate,
  type ChatTemplateTokens,
  type RenderOptions,
} from "./src/tokenizer/chat_template.ts";
export { tokenizerFromGguf } from "./src/tokenizer/gguf.ts";
export type {
  DecodeOptions,
  EncodeOptions,
  Tokenizer,
} from "./src/tokenizer/tokenizer.ts";
export {
  type ChatOptions,
  chatOptions,
  LanguageModel,
} from "./src/generate/language_model.ts";
export { load } from "./src/load/load.ts";
export { findGpu, type FoundGpu, gpuFor } from "./src/load/plan_gpu.ts";
export {
  type GpuMode,
  type LoadOptions,
  loadOptions,
} from "./src/load/load_options.ts";
export { type ModelSource, toByteSource } from "./src/load/model_source.ts";
