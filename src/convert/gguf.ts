import type { ByteSource } from "../bytes/byte_source.ts";
import {
  getString,
  type GgufFile,
  readGguf,
  type TensorInfo,
} from "../formats/gguf/read.ts";
import { architectures } from "../model/architectures.ts";
import { describeModel } from "../model/model.ts";
import type { Contents } from "./contents.ts";
import { unbundle } from "./neuron_bundle.ts";
import { stored } from "./rows.ts";

/**
 * Reads what a file holds; its weights stay unread. The source stays the
 * caller's.
 *
 * @throws {FormatError} where it is damaged
 * @throws {UnsupportedError} for tensor types that culm does not know
 */
export async function readGgufContents(source: ByteSource): Promise<Contents> {
  const file = await readGguf(source);
  const isKnown = architectures.has(
    getString(file, "general.architecture") ?? "",
  );
  const tensors = unbundle(
    new Map(
      file.tensors.values().map(({ name, offset, type, shape }) => [
        name,
        stored(source, offset, type, shape),
      ]),
    ),
  );
  return {
    name: source.name,
    form:
      [...tensors.keys()].some((name) => /\.ffn_down_t(_exps)?\./.test(name))
        ? "powerinfer"
        : "llama",
    magic: file.magic,
    activation: isKnown
      ? describeModel({ ...file, tensors: ofLikeTypes(file.tensors) })
        .activation
      : undefined,
    metadata: file.metadata,
    tensors,
    sources: [source],
    notes: [],
    close: () => Promise.resolve(),
  };
}

/** Tensors of which shared experts have the types of the others beside them: those of a file that is to be converted may differ. */
function ofLikeTypes(
  tensors: GgufFile["tensors"],
): ReadonlyMap<string, TensorInfo> {
  return new Map(
    Array.from(tensors, ([name, tensor]) => {
      const beside = tensors.get(name.replace("_shexp.", "_exps.")) ??
        tensors.get(name.replace("_shexp.", "."));
      return [name, { ...tensor, type: beside?.type ?? tensor.type }];
    }),
  );
}
