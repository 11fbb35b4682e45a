import { ggmlTypes } from "../../../src/formats/ggml/types.ts";
import type { GgmlType, ReadType } from "../../../src/formats/ggml/types.ts";

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
  digests: Record<string, string>;
} = JSON.parse(
  await Deno.readTextFile(
    new URL("../goldens/ggml_types.json", import.meta.url),
  ),
);

export const typeNames = Object.keys(ggmlTypes) as GgmlType[];

/** Number and block sizes of each type. */
export const typeGoldens = file.types;

/** SHA-256 of the weights of 512 blocks of {@linkcode generatedBytes}, as hex, by type. */
export const digests = Object.entries(file.digests) as [ReadType, string][];

/** The bytes of the generator that ggml_types.py has too. */
export function generatedBytes(length: number): Uint8Array<ArrayBuffer> {
  let state = 1;
  return new Uint8Array(length).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

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
