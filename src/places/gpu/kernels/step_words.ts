/**
 * What is uploaded for a step: a header, a record for each token, then the
 * pages of each sequence.
 */
import type { Model } from "../../../model/model.ts";
import { type BatchLimits, pagesFor } from "../../batch.ts";

/** Words of the header and of a token's record, by number, as kernels name them. */
export const stepWords = {
  token_count: 0,
  /** Logits that are computed at once: the number of the first, and how many */
  wanted_first: 1,
  wanted_count: 2,
  /** Stretches that the neurons of a down are cut into */
  stretch_count: 3,
  /** Words of a token's record */
  token_words: 4,
  /** Logits of each row that are picked; 0 = whole rows are returned */
  top_count: 5,
  /** Workgroups that share a head's positions */
  split_count: 6,
  header_words: 8,
  record_id: 0,
  record_position: 1,
  /** The token that wants the logits of this number */
  record_wanted: 2,
  /** Where the pages of its sequence begin, in words of the step */
  record_pages: 3,
  /** What its queries are multiplied by */
  record_query_scale: 4,
  /** (cos, sin) of its position's angles, of each rotation; then the experts that it chose (`routesAt`) */
  record_angles: 5,
} as const;

export type StepHeader = Readonly<
  Record<
    Exclude<keyof typeof stepWords, `record_${string}` | "header_words">,
    number
  >
>;

export function putHeader(
  step: Uint32Array,
  header: Partial<StepHeader>,
): void {
  for (const [name, value] of Object.entries(header)) {
    step[stepWords[name as keyof StepHeader]] = value;
  }
}

export const headerBytes = 4 * stepWords.header_words;

/** What decides how many angles a token has. */
export type Angles = Pick<Model, "rotations" | "ropeSize">;

/** What decides how long a token's record is. */
export type Recorded = Angles & Pick<Model, "routing">;

/** Where the angles of rotation number `rotation` begin in a token's record. */
export function anglesAt({ ropeSize }: Angles, rotation: number): number {
  return stepWords.record_angles + rotation * ropeSize;
}

/** Where a token's record has the experts that it chose, ascending: each one's number, and what it counts. The device writes them. */
export function routesAt(model: Angles): number {
  return anglesAt(model, model.rotations.length);
}

/** Words of a token's record. */
export function recordWords(model: Recorded): number {
  return routesAt(model) + 2 * (model.routing?.used ?? 0);
}

/** The most bytes that a step of these limits takes. */
export function stepBytes(limits: BatchLimits, model: Recorded): number {
  const record = recordWords(model);
  return headerBytes +
    4 * limits.tokens * (record + pagesFor(limits.contextSize));
}
