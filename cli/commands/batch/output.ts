/** What batches are read from and written to, whoever answers them. */
import {
  type BatchLine,
  type BatchResult,
  isAnswered,
} from "../../../server.ts";
import { statOf } from "../../output_file.ts";
import { note } from "../../terminal.ts";

/** How many requests are under way where so many texts are written: a few wait, so that the next text can begin at once. */
export function concurrencyOf(parallel: number): number {
  return parallel + 2;
}

/** How many texts are written at the same time. */
export const parallelFlag = {
  type: "integer",
  minimum: 1,
  maximum: 512,
  default: 16,
  flag: "-np, --parallel <n>",
  description: "most texts that are written at the same time",
} as const;

/**
 * The time of the answers, in seconds: that of the requests, so that the same
 * file has the same results whenever, and however often, it is gone on with.
 */
export async function createdOf(path: string): Promise<number> {
  const { mtime } = await statOf(path) ?? {};
  return Math.floor((mtime?.getTime() ?? Date.now()) / 1000);
}

/** Results in the order of their requests. */
export function inInputOrder(
  lines: readonly BatchLine[],
  results: readonly BatchResult[],
): BatchResult[] {
  const places = new Map(lines.map(({ customId }, i) => [customId, i]));
  const placeOf = ({ custom_id }: BatchResult) => places.get(custom_id)!;
  return results.toSorted((a, b) => placeOf(a) - placeOf(b));
}

/** Results as lines. */
export function* linesOf(
  results: Iterable<BatchResult>,
): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  for (const result of results) {
    yield encoder.encode(`${JSON.stringify(result)}\n`);
  }
}

/** Says how many were answered; the exit code is 1 where some were not. */
export function summarise(results: readonly BatchResult[]): number {
  const answered = results.filter(isAnswered).length;
  const refused = results.length - answered;
  note(
    `${results.length} requests: ${answered} answered, ${refused} refused${
      refused > 0 ? " (status_code and error of their results say why)" : ""
    }`,
  );
  return refused > 0 ? 1 : 0;
}
