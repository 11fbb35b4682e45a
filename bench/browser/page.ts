/** What the page of each side does: it loads the model at once, and is measured when it is asked. */

/** What a text begins with, whichever a runtime takes. */
export interface Prompt {
  readonly text: string;
  readonly ids: number[];
}

/** A runtime of language models, as a page uses it. */
export interface Runtime {
  /** Takes the model from the network, or from where it was kept when it came. */
  load(model: string, threads: number): Promise<void>;
  /** Continues a prompt by so many tokens, the likeliest ones; each comes as it is made. */
  generate(prompt: Prompt, tokens: number): AsyncIterable<unknown>;
}

/** What a page is to do; it has it as `work`. */
export interface Work {
  readonly model: string;
  readonly threads: number;
  /** What the first token continues */
  readonly first: Prompt;
}

/** ms of one text. */
export interface Timing {
  /** Until the first token */
  readonly promptMs: number;
  /** From the first to the last */
  readonly decodeMs: number;
}

/** What a page has for its driver. */
export interface Measured {
  /** ms from the beginning of the page's loading to the first token */
  readonly firstToken: Promise<number>;
  measure(prompt: Prompt, tokens: number): Promise<Timing>;
}

/** Makes the page one of this runtime. */
export function measured({ load, generate }: Runtime): void {
  const { work } = globalThis as unknown as { work: Work };
  const measure = async (prompt: Prompt, tokens: number) => {
    const start = performance.now();
    const times: number[] = [];
    for await (const _ of generate(prompt, tokens)) {
      times.push(performance.now());
    }
    const first = times[0], last = times.at(-1)!;
    return { promptMs: first - start, decodeMs: last - first };
  };
  const begin = async () => {
    await load(work.model, work.threads);
    await measure(work.first, 1);
    return performance.now();
  };
  const page: Measured = { firstToken: begin(), measure };
  Object.assign(globalThis, { page });
}
