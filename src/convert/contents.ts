import type { ByteSource } from "../bytes/byte_source.ts";
import type { GgufMagic, MetadataEntry } from "../formats/gguf/gguf_file.ts";
import type { Activation } from "../model/activation.ts";
import type { Rows } from "./rows.ts";

/** `llama`: dense, as llama.cpp has it. `powerinfer`: `ffn_down_t`, for engines that skip neurons. */
export type Form = "llama" | "powerinfer";

/** A model that can be written, before it is said in which types and form. */
export interface Contents {
  /** What to call it in messages */
  readonly name: string;
  /** Which of the two forms of `down` its tensors have */
  readonly form: Form;
  /** The first bytes of the file, where they are not what the form says */
  readonly magic?: GgufMagic;
  /** What makes a neuron's value; `undefined` for architectures that culm does not know */
  readonly activation?: Activation;
  /** Metadata in the order to write it, without what depends on types */
  readonly metadata: ReadonlyMap<string, MetadataEntry>;
  /** Tensors by GGUF's names, in the order to write them */
  readonly tensors: ReadonlyMap<string, Rows>;
  /** The files that the tensors are read from */
  readonly sources: readonly ByteSource[];
  /** What is lost, one sentence each */
  readonly notes: readonly string[];
  /** Lets go of the files. */
  close(): Promise<void>;
}

/** How many layers a model has: each has one up. */
export function layerCountOf({ tensors }: Pick<Contents, "tensors">): number {
  const names = [...tensors.keys()];
  return names.filter((name) => /\.ffn_up(_exps)?\.weight$/.test(name)).length;
}
