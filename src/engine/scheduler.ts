/** Which of the tokens that wait run in the next step. */
import type { Batch } from "../places/batch.ts";
import type { TokenMask } from "../sampling/token_mask.ts";
import type { Growth, Sequence } from "./sequence.ts";
import type { OnTrace } from "../places/trace.ts";

/** For which of the evaluated tokens logits, or states, are given. */
export type WantLogits = "none" | "last" | "all";

/** Tokens that are to be appended to a sequence. */
export interface Request {
  readonly sequence: Sequence;
  readonly tokens: readonly number[];
  readonly want: WantLogits;
  /** How many of the largest logits are wanted in place of all; 0 = all */
  readonly top: number;
  /** The largest are those that it allows, after the last token */
  readonly mask?: Promise<TokenMask>;
  /** Whether log Σ exp over all is wanted beside the largest */
  readonly needsSum?: boolean;
  /** Whether states behind the output norm are wanted in place of logits */
  readonly states?: boolean;
  readonly signal?: AbortSignal;
  /** Told what the places did in each of its steps */
  readonly onTrace?: OnTrace;
  readonly logits: Float32Array[];
  readonly answer: PromiseWithResolvers<Float32Array[]>;
  /** Tokens that have been evaluated */
  done: number;
}

/** Some tokens, and after how many of them, the last ones, logits are wanted. */
export interface Piece {
  readonly tokens: readonly number[];
  readonly wanted: number;
  /** Whose they are; nobody's where they are evaluated anew */
  readonly request?: Request;
}

/** The next tokens of a request. */
export type RequestPiece = Piece & { readonly request: Request };

/** Tokens of one sequence in a step. */
export interface Share<P extends Piece = Piece> {
  readonly sequence: Sequence;
  /** The position of the first */
  readonly first: number;
  readonly growth: Growth;
  /** Of its requests in their order, the next tokens of each */
  readonly pieces: readonly P[];
}

/** Tokens of one sequence: those that wait, or those of a step. */
export interface Line {
  readonly tokens: number;
  /** Whether they are of a prompt, and not what a text goes on with */
  readonly isPrompt: boolean;
}

/** The most tokens that a text goes on with: the next, and the usual draft. */
const longestNext = 8;

/** Whether some of `count` tokens, which are of these requests, are of a prompt. */
export function isPrompt(
  requests: readonly Pick<Request, "tokens">[],
  count: number,
): boolean {
  return count > longestNext ||
    requests.some(({ tokens }) => tokens.length > longestNext);
}

/** How many texts are being written, the tokens that they go on with, and those of prompts. */
export function countOf(lines: readonly Line[]) {
  let texts = 0, next = 0, prompts = 0;
  for (const { tokens, isPrompt } of lines) {
    if (isPrompt) prompts += tokens;
    else {
      texts++;
      next += tokens;
    }
  }
  return { texts, next, prompts };
}

/**
 * How many tokens of each line a step of `slots` takes. The line that comes first
 * gets one, so that each that moves behind the others when it is served has its
 * turn; then texts that are being written get all of theirs, in line; what is
 * left is shared evenly among prompts, and what one does not need the others have.
 */
export function shareSlots(lines: readonly Line[], slots: number): number[] {
  const shares = lines.map(() => 0);
  const give = (line: number, count: number) => {
    const given = Math.min(count, lines[line].tokens - shares[line], slots);
    shares[line] += given;
    slots -= given;
  };
  if (lines.length > 0) give(0, 1);
  lines.forEach((line, i) => !line.isPrompt && give(i, line.tokens));
  const isOpen = (line: number) => shares[line] < lines[line].tokens;
  let open = [...lines.keys()].filter(isOpen);
  while (slots > 0 && open.length > 0) {
    const held = open.reduce((sum, line) => sum + shares[line], 0);
    const level = Math.floor((held + slots) / open.length);
    // Where less than one each is left, the first in line have it.
    const isLevel = open.every((line) => shares[line] >= level);
    const next = isLevel ? level + 1 : level;
    for (const line of open) give(line, Math.max(0, next - shares[line]));
    open = open.filter(isOpen);
  }
  return shares;
}

/** The next `count` tokens of a sequence's requests. */
export function piecesOf(
  line: readonly Request[],
  count: number,
): RequestPiece[] {
  const pieces: RequestPiece[] = [];
  for (const request of line) {
    if (count === 0) break;
    const { tokens, done, want } = request;
    const next = tokens.slice(done, done + count);
    const isDone = done + next.length === tokens.length;
    const wanted = want === "all"
      ? next.length
      : Number(want === "last" && isDone);
    pieces.push({ request, tokens: next, wanted });
    count -= next.length;
  }
  return pieces;
}

/** Puts a step's tokens into the batch. Gives whom to tell what places did, where somebody wants to know. */
export function fillBatch(
  batch: Batch,
  shares: readonly Share[],
): OnTrace | undefined {
  /** How many of the largest logits each wants; 0 = all */
  const tops: number[] = [];
  let onTrace: OnTrace | undefined;
  let t = 0;
  batch.copyCount = 0;
  batch.clearMasks();
  shares.forEach(({ sequence, first, growth, pieces }, row) => {
    let position = first;
    for (const { request, tokens, wanted } of pieces) {
      const { top = 0, mask, needsSum, states = false } = request ?? {};
      // A GPU knows no masks.
      if (wanted > 0 && !states) tops.push(mask ? 0 : top);
      onTrace ??= request?.onTrace;
      tokens.forEach((id, i) => {
        batch.tokens[t] = id;
        batch.positions[t] = position++;
        batch.sequences[t] = row;
        batch.setModeValue(t, sequence.modeValue);
        batch.picks[t] = needsSum ? 0 : top;
        const isWanted = i >= tokens.length - wanted;
        if (mask && isWanted) batch.awaitMask(t, mask);
        batch.wantLogits[t] = Number(isWanted && !states);
        batch.wantStates[t++] = Number(isWanted && states);
      });
    }
    batch.pages.set(growth.pages, row * batch.pagesPerSequence);
    if (growth.copy) {
      const { from, to } = growth.copy;
      batch.copies.set([from, to], 2 * batch.copyCount++);
    }
  });
  batch.length = t;
  // As many as are enough for all of them.
  batch.top = tops.includes(0) ? 0 : Math.max(0, ...tops);
  return onTrace;
}
