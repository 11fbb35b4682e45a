import type {
  MetadataEntry,
  MetadataValue,
} from "../../src/formats/gguf/read.ts";

/** A value whose arrays are plain, so that it can be compared with what was written. */
export function plainValue(value: MetadataValue): MetadataValue {
  if (typeof value !== "object") return value;
  return { ...value, values: Array.from(value.values, plainValue) };
}

/** Metadata of plain values. */
export function plainMetadata(
  metadata: Iterable<readonly [string, MetadataEntry]>,
): [string, MetadataEntry][] {
  return Array.from(
    metadata,
    ([key, entry]) => [key, { ...entry, value: plainValue(entry.value) }],
  );
}
