/** Matrices of neurons, put together as bundles and taken apart (`model/neuron_bundle.ts`). */
import { UsageError } from "../errors.ts";
import { rowBytes } from "../formats/ggml/types.ts";
import {
  bundledNames,
  bundleName,
  layerOfBundle,
  partsOfBundle,
} from "../model/neuron_bundle.ts";
import { rowCount, type Rows, strideOf } from "./rows.ts";

/**
 * Tensors with gate, up and down of each layer in one.
 *
 * @throws {UsageError} where a model has experts or no gates, or a layer's three are of several types
 */
export function bundle(
  tensors: ReadonlyMap<string, Rows>,
  model: string,
): Map<string, Rows> {
  const all = new Map<string, Rows>();
  let count = 0;
  for (const [name, rows] of tensors) {
    const [, layer, own = ""] =
      /^blk\.(\d+)\.(ffn_gate|ffn_up|ffn_down_t)\.weight$/.exec(name) ?? [];
    if (!own) all.set(name, rows);
    else if (own === bundledNames[1]) {
      all.set(bundleName(+layer), bundleOf(+layer, tensors, model));
      count++;
    }
  }
  if (count > 0) return all;
  throw new UsageError(
    `Cannot bundle the neurons of ${model}: it has experts, which are read whole`,
  );
}

function bundleOf(
  layer: number,
  tensors: ReadonlyMap<string, Rows>,
  model: string,
): Rows {
  const parts = bundledNames.map((own) => {
    const name = `blk.${layer}.${own}.weight`, rows = tensors.get(name);
    if (rows) return rows;
    throw new UsageError(
      `Cannot bundle the neurons of ${model}: there is no ${name}`,
    );
  });
  const types = new Set(parts.map(({ type }) => type));
  if (types.size > 1) {
    throw new UsageError(
      `Cannot bundle the neurons of ${model}: gate, up and down of layer ${layer} are ${
        parts.map(({ type }) => type).join(", ")
      }, and have to be of one type (--type)`,
    );
  }
  const [{ type, shape: [columns] }] = parts, each = parts.length;
  const stride = rowBytes(type, columns);
  return {
    type,
    shape: [columns, each, rowCount(parts[0])],
    read: async (first, count) => {
      const start = Math.floor(first / each);
      const end = Math.ceil((first + count) / each);
      const bytes = new Uint8Array((end - start) * each * stride);
      for (const [i, part] of parts.entries()) {
        const own = await part.read(start, end - start);
        for (let neuron = 0; neuron < end - start; neuron++) {
          const row = own.subarray(neuron * stride, (neuron + 1) * stride);
          bytes.set(row, (neuron * each + i) * stride);
        }
      }
      const from = (first - start * each) * stride;
      return bytes.slice(from, from + count * stride);
    },
  };
}

/** Tensors with bundles taken apart. */
export function unbundle(
  tensors: ReadonlyMap<string, Rows>,
): Map<string, Rows> {
  return new Map([...tensors].flatMap(([name, rows]) => {
    const layer = layerOfBundle(name);
    if (layer === undefined) return [[name, rows]];
    const each = bundledNames.length, stride = strideOf(rows);
    return partsOfBundle(layer, { name, shape: rows.shape })
      .map(({ name: own, shape }, i): [string, Rows] => [own, {
        type: rows.type,
        shape,
        read: async (first, count) => {
          const all = await rows.read(first * each, count * each);
          const bytes = new Uint8Array(count * stride);
          for (let row = 0; row < count; row++) {
            const from = (row * each + i) * stride;
            bytes.set(all.subarray(from, from + stride), row * stride);
          }
          return bytes;
        },
      }]);
  }));
}
