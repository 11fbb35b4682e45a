/** What `deno task bench:guard` measures: models, how they are loaded, and what each then does. */

/** What both sides do, each in its turn. */
export type Work =
  /** A prompt of so many tokens */
  | { readonly kind: "prompt"; readonly tokens: number }
  /** So many steps, each with a token of every sequence */
  | {
    readonly kind: "decode";
    readonly steps: number;
    readonly sequences: number;
  }
  /** A process of its own, from its start to the end of a text of one token */
  | { readonly kind: "start" };

/** A way of running a model. */
export interface Setting {
  readonly name: string;
  /** A file; the embedded model where there is none */
  readonly model?: string;
  readonly threads: number;
  readonly sparsity: "dense" | "exact" | "predictor";
  readonly works: readonly Work[];
}

/** Where the guard's models are. */
export const folder = ".cache/guard";

/**
 * What `culm synth` makes: a few layers as wide as Bamboo-7B's, more than caches
 * hold, and narrower ones of 8 and 6 bits.
 */
export const synthetic: Readonly<Record<string, readonly string[]>> = {
  [`${folder}/wide-q4_0.gguf`]: [
    "--block-count=2",
    "--vocab-size=1024",
    "--predictor-rank=1024",
  ],
  ...Object.fromEntries(
    ["q8_0", "q6_k"].map((type) => [`${folder}/narrow-${type}.gguf`, [
      `--type=${type}`,
      "--form=llama",
      "--block-count=3",
      "--vocab-size=1024",
      "--embedding-length=2048",
      "--feed-forward-length=5632",
      "--head-count=16",
      "--head-count-kv=4",
    ]]),
  ),
};

/** Measured too where it is there (`deno task fetch:smollm2`). */
export const smollm2 = ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf";

const prompt = (tokens: number): Work => ({ kind: "prompt", tokens });
const decode = (steps: number, sequences = 1): Work => ({
  kind: "decode",
  steps,
  sequences,
});

function on(
  model: string | undefined,
  name: string,
  threads: number,
  sparsity: Setting["sparsity"],
  ...works: Work[]
): Setting {
  const of = threads === 1 ? "1 thread" : `${threads} threads`;
  return {
    name: `${name}, ${of}`,
    model: model?.includes("/") === false ? `${folder}/${model}.gguf` : model,
    threads,
    sparsity,
    works,
  };
}

/** Ten rows, and two of SmolLM2. Work is cut so that a turn takes 50 to 200 ms where a core reads 10 GB/s. */
export const settings: readonly Setting[] = [
  on(undefined, "tiny-bamboo", 1, "exact", decode(64)),
  on(
    undefined,
    "tiny-bamboo",
    2,
    "exact",
    decode(96),
    prompt(128),
    { kind: "start" },
  ),
  on("wide-q4_0", "7B's width, dense", 2, "dense", decode(6)),
  on("wide-q4_0", "7B's width, exact", 2, "exact", decode(8), decode(4, 4)),
  on("wide-q4_0", "7B's width, predictor", 2, "predictor", decode(12)),
  on("narrow-q8_0", "Q8_0", 2, "exact", decode(8)),
  on("narrow-q6_k", "Q6_K", 2, "exact", prompt(48)),
  on(smollm2, "SmolLM2, Q4_1", 1, "exact", decode(8), prompt(64)),
];

/** A work, for people. */
export function nameOf(work: Work): string {
  switch (work.kind) {
    case "prompt":
      return `prompt of ${work.tokens}`;
    case "decode":
      return work.sequences === 1
        ? "decoding"
        : `steps of ${work.sequences} sequences`;
    case "start":
      return "start to the first token";
  }
}
