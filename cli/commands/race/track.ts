/** What one runner of a race has written, and when. */

/** A piece of a text. */
export interface Mark {
  /** Since the runner was given the prompt, in ms */
  readonly ms: number;
  readonly text: string;
}

/** A runner's text with the time of each piece. */
export interface Track {
  readonly name: string;
  readonly marks: readonly Mark[];
  /** Tokens that it wrote; undefined while it writes, where others count them */
  readonly tokens?: number;
}

/** What a track shows at a moment. */
export interface Moment {
  readonly text: string;
  /** Tokens a second since the first of them; undefined before there are two. */
  readonly rate?: number;
  readonly isDone: boolean;
}

/** What a track shows, so many ms after its start. The page of a race has this function's text, so that it uses nothing else. */
export function momentOf({ marks, tokens }: Track, ms: number): Moment {
  const written = marks.filter((mark) => mark.ms <= ms);
  const first = marks.at(0)?.ms ?? 0, last = written.at(-1)?.ms ?? 0;
  const isDone = written.length === marks.length && tokens !== undefined;
  // Pieces of a program that writes several tokens at once have their share.
  const each = tokens === undefined || marks.length === 0
    ? 1
    : tokens / marks.length;
  const count = written.length * each;
  return {
    text: written.map(({ text }) => text).join(""),
    rate: count > 1 && last > first
      ? 1000 * (count - 1) / (last - first)
      : undefined,
    isDone,
  };
}

/** How long a track takes, in ms. */
export function durationOf({ marks }: Track): number {
  return marks.at(-1)?.ms ?? 0;
}
