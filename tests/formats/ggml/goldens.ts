import { ggmlTypes } from "../../../src/formats/ggml/types.ts";
import type { GgmlType } from "../../../src/formats/ggml/types.ts";

/** Weights and their blocks, made by scripts/goldens/ggml_types.py. */
export interface TypeGolden {
  values: Float32Array;
  bytes: Uint8Array<ArrayBuffer>;
}

type Encoded = Record<string, { values: string; bytes: string }>;

const file: {
  types: Record<string, { id: number; blockSize: number; blockBytes: number }>;
  dequantise: Encoded;
  quantise: Encoded;
} = JSON.parse(
  await Deno.readTextFile(
    new URL("../goldens/ggml_types.json", import.meta.url),
  ),
);

export const typeNames = Object.keys(ggmlTypes) as GgmlType[];

/** Number and block sizes of each type. */
export const typeGoldens = file.types;

/** The goldens of one direction, by type. */
export function goldensFor(
  direction: "dequantise" | "quantise",
): [GgmlType, TypeGolden][] {
  return Object.entries(file[direction]).map(([type, { values, bytes }]) => [
    type as GgmlType,
    {
      values: new Float32Array(fromBase64(values).buffer),
      bytes: fromBase64(bytes),
    },
  ]);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
