/**
 * Prints a text while it is generated, and keeps what it took.
 *
 * @module
 */
import type { GenerateOptions, Piece, Summary, Tokenizer } from "../mod.ts";
import { note, printable, printableLines, write } from "./terminal.ts";
import type { Timings } from "./timings.ts";

/** A text that was printed. */
export interface Answer {
  readonly text: string;
  readonly summary: Summary;
}

/**
 * Prints the pieces that `start` gives, adds what they took to `timings`, and
 * gives the whole text.
 */
export async function printAnswer(
  start: (options: GenerateOptions) => AsyncIterable<Piece>,
  options: GenerateOptions,
  timings: Timings,
  onPiece?: (piece: Piece) => void,
): Promise<Answer> {
  const isShown = Deno.stdout.isTerminal();
  const startedAt = performance.now();
  let firstTokenMs: number | undefined;
  let text = "";
  let summary!: Summary;
  const pieces = start({ ...options, onFinish: (given) => summary = given });
  for await (const piece of pieces) {
    firstTokenMs ??= performance.now() - startedAt;
    text += piece.text;
    await write(isShown ? printableLines(piece.text) : piece.text);
    onPiece?.(piece);
  }
  timings.add(summary, firstTokenMs);
  return { text, summary };
}

/** Writes a token with its log-probability, and the likeliest ones beside it, to standard error. */
export function noteLogprobs(piece: Piece, tokenizer: Tokenizer): void {
  const show = (id: number, logprob: number) =>
    `${id} '${printable(tokenizer.pieceText(id))}' ${logprob.toFixed(4)}`;
  const others = piece.topLogprobs
    ?.map(({ id, logprob }) => show(id, logprob)).join(", ");
  note(show(piece.id, piece.logprob) + (others ? ` | ${others}` : ""));
}
