/**
 * Tensors in which the rows of each neuron lie side by side: gate, up and down of
 * the first, then those of the second. One that is cold is then one read. culm
 * alone writes and reads them; each of the three is a tensor by itself, whose
 * rows are so far apart.
 */
import { FormatError } from "../errors.ts";
import { rowBytes } from "../formats/ggml/types.ts";
import type { TensorInfo } from "../formats/gguf/gguf_file.ts";

/** What the rows of a neuron are, in their order. */
export const bundledNames = ["ffn_gate", "ffn_up", "ffn_down_t"] as const;

/** The name of a layer's bundle. */
export function bundleName(layer: number): string {
  return `blk.${layer}.ffn_neurons.weight`;
}

/** The layer of a bundle; undefined where a tensor is none. */
export function layerOfBundle(name: string): number | undefined {
  const [, layer] = /^blk\.(\d+)\.ffn_neurons\.weight$/.exec(name) ?? [];
  return layer === undefined ? undefined : Number(layer);
}

/** What a bundle of `[columns, 3, neurons]` is called and shaped like, apart. */
export function partsOfBundle(
  layer: number,
  { name, shape }: Pick<TensorInfo, "name" | "shape">,
): { readonly name: string; readonly shape: readonly number[] }[] {
  const [columns, each, neurons = 1, ...others] = shape;
  if (each !== bundledNames.length || others.some((side) => side !== 1)) {
    throw new FormatError(
      `Cannot read tensor ${name}: its shape is [${
        shape.join(", ")
      }], a bundle needs [${columns}, ${bundledNames.length}, neurons]`,
    );
  }
  return bundledNames.map((own) => ({
    name: `blk.${layer}.${own}.weight`,
    shape: [columns, neurons],
  }));
}

/**
 * A file's tensors, bundles replaced by what they hold.
 *
 * @throws {FormatError} where one has another shape, or what it holds is there by itself
 */
export function unbundled(
  tensors: ReadonlyMap<string, TensorInfo>,
): ReadonlyMap<string, TensorInfo> {
  if (![...tensors.keys()].some((name) => layerOfBundle(name) !== undefined)) {
    return tensors;
  }
  const found = new Map<string, TensorInfo>();
  for (const [name, tensor] of tensors) {
    const layer = layerOfBundle(name);
    if (layer === undefined) {
      found.set(name, tensor);
      continue;
    }
    const { type, offset } = tensor;
    partsOfBundle(layer, tensor).forEach(({ name: own, shape }, i) => {
      if (tensors.has(own)) {
        throw new FormatError(
          `Cannot read the model: it has ${own} both by itself and in ${name}`,
        );
      }
      const [columns, neurons] = shape, row = rowBytes(type, columns);
      const piece = {
        first: 0,
        end: neurons,
        offset: offset + i * row,
        stride: bundledNames.length * row,
      };
      found.set(own, {
        ...tensor,
        name: own,
        shape,
        offset: piece.offset,
        byteLength: neurons * row,
        pieces: [piece],
      });
    });
  }
  return found;
}
