import type { MetadataEntry } from "./gguf_file.ts";

/** Metadata values by type. */
export const entry = {
  text: (value: string): MetadataEntry => ({ type: "string", value }),
  whole: (value: number): MetadataEntry => ({ type: "uint32", value }),
  real: (value: number): MetadataEntry => ({ type: "float32", value }),
  flag: (value: boolean): MetadataEntry => ({ type: "bool", value }),
  texts: (values: readonly string[]): MetadataEntry => ({
    type: "array",
    value: { elementType: "string", values },
  }),
  reals: (values: readonly number[]): MetadataEntry => ({
    type: "array",
    value: { elementType: "float32", values },
  }),
  wholes: (values: readonly number[]): MetadataEntry => ({
    type: "array",
    value: { elementType: "int32", values },
  }),
};
