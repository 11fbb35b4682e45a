/**
 * Files of models, read without loading them: where their bytes come from, GGUF
 * and PowerInfer headers, PyTorch's and safetensors' tensors, tokenizers and
 * chat templates.
 *
 * @example
 * ```ts
 * import { describeModel, readGguf } from "@culm/culm/gguf";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * const model = describeModel(await readGguf(tinyBamboo()));
 * console.log(model.architecture, model.layers.length); // bamboo 6
 * ```
 *
 * @module
 */
export type { ByteSource } from "./src/bytes/byte_source.ts";
export { openFile } from "./src/bytes/file.ts";
export { fromBlob, fromBuffer } from "./src/bytes/memory.ts";
export { fromUrl, type UrlOptions, urlOptions } from "./src/bytes/url.ts";
export { type Folder, isFolder, openFolder } from "./src/bytes/folder.ts";
export { toByteSource } from "./src/load/model_source.ts";
export {
  type GgufFile,
  type GgufMagic,
  type MetadataArray,
  type MetadataEntry,
  type MetadataType,
  type MetadataValue,
  type MetadataValues,
  readGguf,
  type RowPiece,
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
export type { GgmlType } from "./src/formats/ggml/types.ts";
export {
  type Activation,
  type ActivationChoice,
  type ChosenActivation,
  isSparse,
} from "./src/model/activation.ts";
export {
  describeModel,
  type LayerTensors,
  type Model,
  type ModelOptions,
} from "./src/model/model.ts";
export type { Rope, Rotation, Yarn } from "./src/model/rope.ts";
export type { Routing } from "./src/model/experts.ts";
export type { LayerAttention, Traits } from "./src/model/traits.ts";
export {
  type BiasedName,
  type Dimension,
  type LayerTensorName,
  layerWeights,
  type OptionalTensorName,
  type PerLayer,
  type PerTensor,
  type TensorSchema,
} from "./src/model/schema.ts";
export type { ChatMessage } from "./src/tokenizer/chat_message.ts";
export {
  ChatTemplate,
  type ChatTemplateTokens,
  type RenderOptions,
} from "./src/tokenizer/chat_template.ts";
export type { AnswerFormat, ChatEvent } from "./src/tokenizer/answer.ts";
export { AnswerParser } from "./src/tokenizer/answer_parser.ts";
export type { ChatPrompt } from "./src/generate/chat_options.ts";
export type { JsonSchema } from "./src/constrain/json_schema.ts";
export type { TextPattern, TextUpTo } from "./src/constrain/text_pattern.ts";
export type { JsonObject } from "./src/formats/json.ts";
export type { ReasoningFormat } from "./src/tokenizer/reasoning.ts";
export type {
  NamedCall,
  ObjectCall,
  TaggedCall,
  ToolCallFormat,
} from "./src/tokenizer/tool_format.ts";
export { tokenizerFromGguf, tokenizerIfAny } from "./src/tokenizer/gguf.ts";
