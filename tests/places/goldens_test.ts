/**
 * The small dReLU model against goldens that PyTorch made in f32 on the same
 * weights: greedy ids, log-probabilities, active neurons, predictor.
 */
import assert from "node:assert/strict";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { openFile } from "../../src/bytes/file.ts";
import { Engine } from "../../src/engine/engine.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { describeModel, type Model } from "../../src/model/model.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import type { CacheType } from "../../src/places/cache_type.ts";
import { startTeam } from "../../src/places/start.ts";
import { ReferencePlace } from "../../src/places/reference/reference_place.ts";
import { InlineTeam, type Team } from "../../src/places/team.ts";
import { logSoftmaxAt } from "../../src/sampling/logprobs.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import {
  sharedJson,
  sharedUrl,
  testWithShared,
} from "../helpers/shared_data.ts";

interface Golden {
  prompt_ids: number[];
  greedy_ids: number[];
  steps: { logprob: number }[];
  nll_of_each_next_token: number[];
  active_neurons_by_layer_and_position: number[][];
}

interface LayerStat {
  predicted: number;
  recall: number;
}

const limits = { tokens: 64, contextSize: 512 };

type MakeTeam = (
  model: Model,
  source: ByteSource,
  sparsity: Sparsity,
) => Promise<Team>;

const reference: MakeTeam = async (model, source, sparsity) => {
  const plan = splitEvenly(model, 1);
  const place = await ReferencePlace.load(
    model,
    plan.places[0],
    sparsity,
    source,
  );
  return new InlineTeam(
    "reference",
    model,
    plan,
    { cpu: [place] },
    sparsity,
    limits,
  );
};

const cpu =
  (threads: number, cacheType: CacheType, measureRecall = false): MakeTeam =>
  (model, source, sparsity) =>
    startTeam(source, threads, {
      model,
      sparsity,
      limits,
      cacheType,
      measureRecall,
    });

const teams: Record<string, MakeTeam> = {
  reference,
  "cpu inline": cpu(0, "f32"),
  "cpu with 1 thread": cpu(1, "f32"),
  "cpu with 2 threads": cpu(2, "f32"),
  "cpu with 2 threads and f16 KV": cpu(2, "f16"),
  "cpu with 2 threads and q8_0 KV": cpu(2, "q8_0"),
};

/**
 * Of a log-probability. Keys and values rounded to f16 add up to 2.5e-3, to q8_0
 * up to 0.053 (0.047 in the reference place, root mean square 0.010 in both).
 */
const tolerance = (team: string) =>
  team.includes("q8_0") ? 0.08 : team.includes("f16") ? 5e-3 : 2e-3;

async function openTiny(name: string): Promise<[ByteSource, Model]> {
  const source = await openFile(sharedUrl(`tiny-bamboo/gguf/${name}.gguf`));
  return [source, describeModel(await readGguf(source))];
}

function argmax(row: Float32Array): number {
  return row.reduce((best, value, i) => value > row[best] ? i : best, 0);
}

const goldens = () => sharedJson<Golden[]>("tiny-bamboo/goldens.json");

for (const file of ["tiny-bamboo-f16", "tiny-bamboo-f16.powerinfer"]) {
  for (const mode of ["dense", "exact"] as const) {
    for (const [name, makeTeam] of Object.entries(teams)) {
      // Rounding may turn a near tie.
      if (name.includes("q8_0")) continue;
      testWithShared(
        `${file}, ${mode}, ${name}: greedy ids and logprobs are the golden's`,
        async () => {
          const [source, model] = await openTiny(file);
          const team = await makeTeam(model, source, { mode });
          await using engine = new Engine(team, model.vocabSize);
          for (const golden of goldens()) {
            using sequence = engine.createSequence();
            let [logits] = await engine.evaluate(sequence, golden.prompt_ids);
            const ids: number[] = [];
            for (const { logprob } of golden.steps) {
              const id = argmax(logits);
              ids.push(id);
              const error = Math.abs(logSoftmaxAt(logits, id) - logprob);
              assert(
                error < tolerance(name),
                `logprob ${ids.length} is off by ${error}`,
              );
              [logits] = await engine.evaluate(sequence, [id]);
            }
            assert.deepEqual(ids, golden.greedy_ids);
          }
          await source.close();
        },
      );
    }
  }
}

for (const [name, makeTeam] of Object.entries(teams)) {
  testWithShared(
    `${name}: the NLL of every token of a prompt is the golden's`,
    async () => {
      const [source, model] = await openTiny("tiny-bamboo-f16");
      const team = await makeTeam(model, source, { mode: "exact" });
      await using engine = new Engine(team, model.vocabSize);
      for (const golden of goldens()) {
        using sequence = engine.createSequence();
        const ids = [...golden.prompt_ids, ...golden.greedy_ids];
        const rows = await engine.evaluate(sequence, ids, "all");
        golden.nll_of_each_next_token.forEach((expected, i) => {
          const actual = -logSoftmaxAt(rows[i], ids[i + 1]);
          assert(
            Math.abs(actual - expected) < tolerance(name),
            `position ${i}: ${actual}, not ${expected}`,
          );
        });
      }
      await source.close();
    },
  );

  testWithShared(
    `${name}: active neurons by layer are the golden's within 1%`,
    async () => {
      const [source, model] = await openTiny("tiny-bamboo-f16.powerinfer");
      const team = await makeTeam(model, source, { mode: "exact" });
      await using engine = new Engine(team, model.vocabSize);
      for (const golden of goldens()) {
        const counts = golden.active_neurons_by_layer_and_position;
        const ids = [...golden.prompt_ids, ...golden.greedy_ids];
        using sequence = engine.createSequence();
        const before = engine.stats();
        await engine.evaluate(sequence, ids.slice(0, counts[0].length), "none");
        engine.stats().layers.forEach(({ active }, layer) => {
          const actual = active - before.layers[layer].active;
          const expected = counts[layer].reduce((sum, count) => sum + count, 0);
          assert(
            Math.abs(actual - expected) <= 0.01 * expected,
            `layer ${layer}: ${actual} active, not ${expected}`,
          );
        });
      }
      await source.close();
    },
  );
}

/** Texts like those that stats.json was made on: two parts of books, one of stories. */
async function profiledTexts(tokenizer: Tokenizer): Promise<number[][]> {
  const unpacked = async (command: string, ...args: string[]) => {
    const { stdout } = await new Deno.Command(command, { args }).output();
    return new TextDecoder().decode(stdout);
  };
  const path = (file: string) => sharedUrl(`data/text/${file}`).pathname;
  const books = await unpacked("tar", "xJOf", path("chilit.tar.xz"));
  const stories = await unpacked("xz", "-dc", path("tinystories.jsonl.xz"));
  const encode = (text: string) => tokenizer.encode(text).slice(0, 384);
  const pages = Array.from({ length: 16 }, (_, i) => {
    const start = Math.floor(books.length * (i + 0.5) / 16);
    return encode(books.slice(start, start + 1500));
  });
  const tales = stories.split("\n").slice(-16, -1)
    .map((line) => encode(JSON.parse(line).text));
  return [...pages, ...tales];
}

testWithShared(
  "the predictor's share and recall are those of stats.json within two points",
  async () => {
    const stats = sharedJson<{ layers: LayerStat[] }>("tiny-bamboo/stats.json");
    const [source, model] = await openTiny("tiny-bamboo-f16.powerinfer");
    const tokenizer = tokenizerFromGguf(await readGguf(source));
    const team = await cpu(2, "f16", true)(model, source, {
      mode: "predictor",
    });
    await using engine = new Engine(team, model.vocabSize);
    for (const ids of await profiledTexts(tokenizer)) {
      using sequence = engine.createSequence();
      await engine.evaluate(sequence, ids, "none");
    }
    engine.stats().layers.forEach((layer, i) => {
      const { predicted, recall } = stats.layers[i];
      const share = layer.predicted / layer.neurons;
      const recalled = layer.recalled / layer.truth;
      const what =
        `layer ${i}: share ${share} (${predicted}), recall ${recalled} (${recall})`;
      assert(Math.abs(share - predicted) < 0.02, what);
      assert(Math.abs(recalled - recall) < 0.02, what);
    });
    await source.close();
  },
);

testWithShared(
  "the cpu place's predictor selects what the reference's does",
  async () => {
    const [source, model] = await openTiny("tiny-bamboo-f16.powerinfer");
    const sparsity = { mode: "predictor" } as const;
    const [expected, actual] = await Promise.all(
      [reference, cpu(2, "f32", true)].map(async (makeTeam) => {
        const team = await makeTeam(model, source, sparsity);
        await using engine = new Engine(team, model.vocabSize);
        using sequence = engine.createSequence();
        const [{ prompt_ids, greedy_ids }] = goldens();
        await engine.evaluate(sequence, [...prompt_ids, ...greedy_ids], "none");
        return engine.stats().layers;
      }),
    );
    for (const name of ["predicted", "truth", "recalled"] as const) {
      actual.forEach((layer, i) => {
        const error = Math.abs(layer[name] - expected[i][name]);
        assert(error <= 0.01 * expected[i][name], `layer ${i}: ${name}`);
      });
    }
    await source.close();
  },
);
