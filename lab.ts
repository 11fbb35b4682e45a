/**
 * What researchers use: perplexity, benchmarks, predictors, synthetic models,
 * and what a run computed and read.
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { estimatePerplexity, scoreChunks, textChunks } from "@culm/culm/lab";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo());
 * const text = "Tom had a red ball. He ran to the park with it. ".repeat(8);
 * const chunks = textChunks(model.tokenizer, text, 32);
 * for await (const [score] of scoreChunks(model.engine, chunks)) {
 *   console.log(estimatePerplexity([score]).perplexity);
 * }
 * ```
 *
 * @module
 */
export { type Doubt, doubtOfStats } from "./src/load/activation_doubt.ts";
export type { OptionsOf, SchemaOf, TypesOf, ValueOf } from "./src/options.ts";
export type { FfnInputs } from "./src/places/ffn_inputs.ts";
export {
  bytesRead,
  type CountName,
  type LayerStats,
  type PlaceStats,
  statsSince,
  totalOf,
} from "./src/places/stats.ts";
export type {
  Activity,
  Lane,
  StepProfile,
  TraceEvent,
  WorkTime,
} from "./src/places/trace.ts";
export type { WantLogits } from "./src/engine/scheduler.ts";
export type { DraftModel } from "./src/generate/model_drafter.ts";
export { embedOptions } from "./src/generate/embed.ts";
export type { LogitsOptions } from "./src/generate/session.ts";
export type { Logits, TopLogits } from "./src/sampling/logits.ts";
export { tokensContaining } from "./src/sampling/penalties.ts";
export {
  checkPredictorOptions,
  defaultRank,
  makePredictor,
  type MakePredictorOptions,
  type TrainingOptions,
} from "./src/lab/predictor/make_predictor.ts";
export {
  type Asked,
  askedOf,
  type AskOptions,
  shotsOf,
} from "./src/lab/eval/asked.ts";
export {
  type AskedModel,
  type EvaluateOptions,
  evaluateTask,
  type Outcome,
  type ProgramRunner,
} from "./src/lab/eval/evaluate.ts";
export type { EvaluatedModel } from "./src/lab/eval/evaluated_model.ts";
export { type Likelihood, likelihoods } from "./src/lab/eval/likelihood.ts";
export type { ScoredIds } from "./src/lab/eval/prompt.ts";
export { writeTexts, type Writing } from "./src/lab/eval/write.ts";
export { humanEval, type HumanEvalOptions } from "./src/lab/eval/humaneval.ts";
export {
  PythonSandbox,
  type SandboxLimits,
} from "./src/lab/eval/python/sandbox.ts";
export { type MetricSummary, summarise } from "./src/lab/eval/summary.ts";
export type {
  Candidate,
  ChoiceItem,
  ClozeItem,
  EvalTask,
  GenerationItem,
  Item,
  ProgramItem,
  Scores,
  Subject,
  TaskFile,
  TaskFiles,
} from "./src/lab/eval/task.ts";
export { evalTasks } from "./src/lab/eval/tasks.ts";
export {
  comparePerplexity,
  estimatePerplexity,
  mostKept,
  type PerplexityChange,
  type PerplexityEstimate,
  scoreChunks,
  type ScoreOptions,
  textChunks,
  type TextScore,
} from "./src/lab/perplexity.ts";
export {
  countActivity,
  expertUnionShares,
  expertUse,
  type LayerActivity,
  type LiveShares,
  liveShares,
  type NeuronActivity,
  sumActivities,
  unionShares,
} from "./src/lab/sparsity/activity.ts";
export { countDecoding, type Decoding } from "./src/lab/sparsity/decoding.ts";
export {
  type DivergenceEstimate,
  type DivergenceScore,
  estimateDivergence,
  klDivergence,
  type RunOptions,
  scoreDivergence,
  type Selection,
  sumSelections,
} from "./src/lab/sparsity/divergence.ts";
export { UnionCounter, unionSizes } from "./src/lab/sparsity/union.ts";
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
