/**
 * From Hugging Face folders, GGUF and PowerInfer files to GGUF and PowerInfer
 * files. Weights stream.
 *
 * @example
 * ```ts
 * import { convert } from "@culm/culm/convert";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * const file = await convert(tinyBamboo(), { type: "F16", form: "llama" });
 * let bytes = 0;
 * for await (const chunk of file.chunks()) bytes += chunk.length;
 * await file.close();
 * console.log(bytes);
 * ```
 *
 * @module
 */
export {
  type Conversion,
  convert,
  type ConvertOptions,
  convertOptions,
} from "./src/convert/convert.ts";
export { type ConvertType, convertTypes } from "./src/convert/choose_types.ts";
export type { Form } from "./src/convert/contents.ts";
export { viewFolder } from "./src/convert/view.ts";
export type {
  GgufParts,
  TensorPart,
  TensorToWrite,
} from "./src/formats/gguf/write.ts";
