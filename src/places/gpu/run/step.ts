import type { Model } from "../../../model/model.ts";
import { ropeAngles, ropeFrequencies } from "../../../model/rope.ts";
import { queryScale } from "../../../model/traits.ts";
import { type Batch, pagesFor } from "../../batch.ts";
import type { Commands } from "../device/commands.ts";
import {
  anglesAt,
  headerBytes,
  putHeader,
  recordWords,
  routesAt,
  type StepHeader,
  stepWords as word,
} from "../kernels/step_words.ts";

/** How many positions each sequence of a batch has when the step is done. */
function reached(batch: Batch): Map<number, number> {
  const counts = new Map<number, number>();
  for (let t = 0; t < batch.length; t++) {
    const sequence = batch.sequences[t];
    const count = batch.positions[t] + 1;
    counts.set(sequence, Math.max(counts.get(sequence) ?? 0, count));
  }
  return counts;
}

/** The step's buffer on the device, and its copy here. */
export class Step {
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #floats: Float32Array;

  /** Of each rotation */
  readonly #frequencies: readonly Float64Array[];

  /** `factors` divide the rotations' frequencies, where the file has them. */
  constructor(
    readonly buffer: GPUBuffer,
    readonly model: Model,
    factors?: Float32Array,
  ) {
    this.#frequencies = model.rotations.map((rotation) =>
      ropeFrequencies(rotation, model.ropeSize, factors)
    );
    this.#words = new Uint32Array(buffer.size / 4);
    this.#floats = new Float32Array(this.#words.buffer);
  }

  upload(
    commands: Commands,
    batch: Batch,
    header: Omit<StepHeader, "token_count" | "wanted_first" | "token_words">,
  ): void {
    const words = this.#words;
    const n = batch.length;
    const record = recordWords(this.model);
    putHeader(words, {
      token_count: n,
      wanted_first: 0,
      token_words: record,
      ...header,
    });
    const { starts, end } = this.#putPages(
      batch,
      word.header_words + n * record,
    );
    let wanted = 0;
    for (let t = 0; t < n; t++) {
      const at = word.header_words + t * record;
      words[at + word.record_id] = batch.tokens[t];
      words[at + word.record_position] = batch.positions[t];
      words[at + word.record_pages] = starts.get(batch.sequences[t])!;
      if (batch.wantLogits[t]) {
        words[word.header_words + wanted++ * record + word.record_wanted] = t;
      }
      this.#putAngles(at, batch.positions[t]);
    }
    commands.write(this.buffer, words.buffer, 4 * end);
  }

  /** Uploads which experts `tokens` tokens chose, `[tokens][used]`. */
  putChoices(commands: Commands, tokens: number, choices: Uint32Array): void {
    const record = recordWords(this.model), first = routesAt(this.model);
    const width = record - first;
    for (let t = 0; t < tokens; t++) {
      const own = choices.subarray(t * width, (t + 1) * width);
      this.#words.set(own, word.header_words + t * record + first);
    }
    const end = word.header_words + tokens * record;
    commands.write(this.buffer, this.#words.buffer, 4 * end);
  }

  /** Uploads which of the wanted logits are computed next. */
  want(commands: Commands, first: number, count: number): void {
    putHeader(this.#words, { wanted_first: first, wanted_count: count });
    commands.write(this.buffer, this.#words.buffer, headerBytes);
  }

  /** Puts what turns and scales a token at `position` into its record, at word `at`. */
  #putAngles(at: number, position: number): void {
    const { model } = this;
    const floats = this.#floats;
    floats[at + word.record_query_scale] = queryScale(model, position);
    model.rotations.forEach(({ magnitude }, i) =>
      ropeAngles(
        this.#frequencies[i],
        position,
        floats.subarray(at + anglesAt(model, i), at + anglesAt(model, i + 1)),
        magnitude,
      )
    );
  }

  /** Lists each sequence's pages from word `first` on; returns where each list begins, and the last one ends. */
  #putPages(
    batch: Batch,
    first: number,
  ): { starts: Map<number, number>; end: number } {
    const starts = new Map<number, number>();
    let end = first;
    for (const [sequence, positions] of reached(batch)) {
      starts.set(sequence, end);
      const row = sequence * batch.pagesPerSequence;
      const count = pagesFor(positions);
      this.#words.set(batch.pages.subarray(row, row + count), end);
      end += count;
    }
    return { starts, end };
  }
}
