/**
 * What an index of a GPU's neurons says, for people and for programs.
 *
 * @module
 */
import type { ByteSource } from "../../../mod.ts";
import type { GpuIndex } from "../../../plan.ts";
import { formatBytes, formatShare, formatTable } from "../../format.ts";
import { printable } from "../../terminal.ts";

/** The index as text: a line a layer. */
export function indexText(
  { name, size }: ByteSource,
  { capacity, feedForwardSize, layers }: GpuIndex,
): string {
  const all = layers.reduce((sum, { length }) => sum + length, 0);
  const share = (count: number, of: number) =>
    formatShare(count, of).padStart(7);
  return formatTable([
    ["file", printable(name)],
    ["size", `${size} bytes (${formatBytes(size)})`],
    ["format", "PowerInfer's index of the neurons on a GPU"],
    ["made for", `${formatBytes(capacity)} of GPU memory`],
    ["layers", `${layers.length}, of ${feedForwardSize} neurons each`],
  ]) + "\nneurons on the GPU\n" + formatTable([
    ...layers.map(({ length }, layer) => [
      `  layer ${layer}`,
      length,
      share(length, feedForwardSize),
    ]),
    ["  all", all, share(all, layers.length * feedForwardSize)],
  ]);
}

/** The index as JSON: how many neurons of each layer, and which. */
export function indexJson(
  { capacity, feedForwardSize, layers }: GpuIndex,
): string {
  const neurons = layers.map((ids) => [...ids]);
  return `${
    JSON.stringify({ capacity, feedForwardSize, layers: neurons }, null, 2)
  }\n`;
}
