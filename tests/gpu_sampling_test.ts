/**
 * Texts whose logits a GPU picks: the same as from whole rows, and fewer bytes
 * come back. Needs an adapter; one in software will do.
 */
import assert from "node:assert/strict";
import { type GenerateOptions, load, type Piece } from "../mod.ts";
import { describeModel, readGguf } from "../gguf.ts";
import { tinyBamboo } from "../tiny/tiny.ts";
import { testWithAdapter } from "./helpers/adapter.ts";
import { firstLayers, scatteredShare } from "./helpers/hybrid_plans.ts";

testWithAdapter(
  "a text from picked logits is the one from all of them, and fewer bytes come back",
  async () => {
    const tiny = tinyBamboo();
    const header = describeModel(await readGguf(tiny));
    const all = firstLayers(header, header.layers.length, true);
    for (
      const gpuPlan of [all, {
        ...scatteredShare(header, 0.5),
        vocab: all.vocab,
      }]
    ) {
      await using model = await load(tiny, {
        threads: 1,
        contextSize: 64,
        gpu: "require",
        gpuPlan,
        // A prompt in one step and its end alone differ in the last bits on a GPU.
        prefixCache: false,
      });
      /** Pieces of a text, and the bytes that its tokens after the first brought back. */
      const run = async (options: GenerateOptions) => {
        const pieces: Piece[] = [];
        let before = 0;
        for await (
          const piece of model.generate("Once", { maxTokens: 6, ...options })
        ) {
          if (pieces.push(piece) === 1) before = downloaded();
        }
        return { pieces, bytes: (downloaded() - before) / 5 };
      };
      const downloaded = () => model.engine.gpu!.counts.downloaded;
      const cases: [GenerateOptions, picked: number][] = [
        [{ temperature: 0 }, 1],
        [{ temperature: 0, logprobs: 5 }, 5],
        ...Array.from(
          { length: 3 },
          (_, seed): [GenerateOptions, number] => [{ seed, logprobs: 2 }, 40],
        ),
      ];
      for (const [options, picked] of cases) {
        const some = await run(options);
        // So small a bias changes nothing here, but one that raises a logit asks for all.
        const all = await run({ ...options, logitBias: { 0: 1e-6 } });
        assert.equal(
          all.bytes - some.bytes,
          4 * (header.vocabSize - 1 - 2 * picked),
        );
        some.pieces.forEach((piece, i) => {
          const other = all.pieces[i];
          assert.equal(piece.id, other.id);
          // NaN where none was asked for
          const error = Math.abs(piece.logprob - other.logprob);
          assert(error < 1e-5 || Object.is(piece.logprob, other.logprob));
          piece.topLogprobs?.forEach(({ id, logprob }, j) => {
            assert.equal(id, other.topLogprobs![j].id);
            assert(
              Math.abs(logprob - other.topLogprobs![j].logprob) < 1e-5,
            );
          });
        });
      }
    }
  },
);
