/**
 * The small dReLU model against goldens that NumPy and PyTorch made in f32 on the
 * same weights: greedy ids, log-probabilities, active neurons, predictor.
 */
import { fileURLToPath } from "node:url";
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
import { InlineTeam } from "../../src/places/inline_team.ts";
import type { Team } from "../../src/places/team.ts";
import { logSoftmaxAt } from "../../src/sampling/logprobs.ts";
import { tokenizerFromGguf } from "../../src/tokenizer/gguf.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { bambooFiles, type Golden } from "../helpers/bamboo_files.ts";
import { fixtureUrl } from "../helpers/fixtures.ts";
import { dataUrl, hasShared, sharedUrl } from "../helpers/shared_data.ts";
import goldens from "../goldens/bamboo.json" with { type: "json" };

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
  return new InlineTeam("reference", {
    model,
    plan,
    sparsity,
    limits,
    cacheType: "f32",
  }, {
    cpu: [place],
  });
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
  // Threads change no bit: they are left to keys and values in f32.
  "cpu inline and f16 KV": cpu(0, "f16"),
  "cpu inline and q8_0 KV": cpu(0, "q8_0"),
};

/** Those that say of a predictor what it misses. */
const predictorTeams: Record<string, MakeTeam> = {
  reference,
  "cpu with 2 threads": cpu(2, "f32", true),
};

/**
 * Of a log-probability. Keys and values rounded to f16 add up to 2.5e-3, to q8_0
 * up to 0.053 (0.047 in the reference place, root mean square 0.010 in both).
 */
const tolerance = (team: string) =>
  team.includes("q8_0") ? 0.08 : team.includes("f16") ? 5e-3 : 2e-3;

function argmax(row: Float32Array): number {
  return row.reduce((best, value, i) => value > row[best] ? i : best, 0);
}

/** A prompt, then the likeliest ids one by one. */
async function checkGreedy(
  engine: Engine,
  { prompt_ids, greedy_ids, steps }: Pick<
    Golden,
    "prompt_ids" | "greedy_ids" | "steps"
  >,
  tolerance: number,
): Promise<void> {
  using sequence = engine.createSequence();
  let [logits] = await engine.evaluate(sequence, prompt_ids);
  const ids: number[] = [];
  for (const { logprob } of steps) {
    const id = argmax(logits);
    ids.push(id);
    const error = Math.abs(logSoftmaxAt(logits, id) - logprob);
    assert(error < tolerance, `logprob ${ids.length} is off by ${error}`);
    [logits] = await engine.evaluate(sequence, [id]);
  }
  assert.deepEqual(ids, greedy_ids);
}

const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0);

/** Every position of a text at once; of the neurons of each layer as many are active, within 1%, where they are counted. */
async function checkLosses(
  engine: Engine,
  text: Pick<
    Golden,
    | "prompt_ids"
    | "greedy_ids"
    | "nll_of_each_next_token"
    | "active_neurons_by_layer_and_position"
  >,
  tolerance: number,
  countsActive: boolean,
): Promise<void> {
  using sequence = engine.createSequence();
  const ids = [...text.prompt_ids, ...text.greedy_ids];
  const before = engine.stats().layers.map(({ active }) => active);
  const rows = await engine.evaluate(sequence, ids, "all");
  text.nll_of_each_next_token.forEach((expected, i) => {
    const actual = -logSoftmaxAt(rows[i], ids[i + 1]);
    assert(
      Math.abs(actual - expected) < tolerance,
      `position ${i}: ${actual}, not ${expected}`,
    );
  });
  if (!countsActive) return;
  const counts = text.active_neurons_by_layer_and_position;
  assert.equal(counts[0].length, ids.length);
  engine.stats().layers.forEach(({ active }, layer) => {
    const actual = active - before[layer];
    const expected = sum(counts[layer]);
    assert(
      Math.abs(actual - expected) <= 0.01 * expected,
      `layer ${layer}: ${actual} active, not ${expected}`,
    );
  });
}

for (const file of bambooFiles) {
  for (const [name, makeTeam] of Object.entries(teams)) {
    const within = tolerance(name);
    const isReference = makeTeam === reference;
    // It takes ten times as long.
    const texts = () => file.texts().slice(0, isReference ? 3 : undefined);
    const withEngine = async (
      sparsity: Sparsity,
      work: (engine: Engine) => Promise<void>,
    ) => {
      const source = await file.open();
      const model = describeModel(await readGguf(source));
      const team = await makeTeam(model, source, sparsity);
      await using engine = new Engine(team, model.vocabSize);
      await work(engine);
      await source.close();
    };

    for (const mode of ["dense", "exact"] as const) {
      // Rounding may turn a near tie; the reference computes the same in both.
      if (name.includes("q8_0") || isReference && mode === "dense") continue;
      Deno.test(
        `${file.name}, ${mode}, ${name}: greedy ids and logprobs are the golden's`,
        async () => {
          await withEngine({ mode }, async (engine) => {
            for (const text of texts()) {
              await checkGreedy(engine, text, within);
            }
          });
        },
      );
    }

    Deno.test(
      `${file.name}, ${name}: NLL and active neurons are the golden's`,
      async () => {
        await withEngine({ mode: "exact" }, async (engine) => {
          for (const text of texts()) {
            await checkLosses(engine, text, within, true);
          }
        });
      },
    );
  }
}
/** Texts like those that stats.json was made on: two parts of books, one of stories. */
async function profiledTexts(tokenizer: Tokenizer): Promise<number[][]> {
  const unpacked = async (command: string, ...args: string[]) => {
    const { stdout } = await new Deno.Command(command, { args }).output();
    return new TextDecoder().decode(stdout);
  };
  const path = (file: string) => fileURLToPath(dataUrl(`text/${file}`));
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

const small = goldens["small-bamboo-f16.powerinfer"];

for (const [name, makeTeam] of Object.entries(teams)) {
  if (name.includes("q8_0")) continue;
  for (const mode of ["exact", "predictor"] as const) {
    Deno.test(
      `a file of PowerInfer's, ${mode}, ${name}: greedy ids, logprobs, NLL and active neurons are the golden's`,
      async () => {
        const source = await openFile(
          fixtureUrl("small-bamboo/f16.powerinfer.gguf"),
        );
        const model = describeModel(await readGguf(source));
        const team = await makeTeam(model, source, { mode });
        await using engine = new Engine(team, model.vocabSize);
        for (const text of small[mode]) {
          await checkGreedy(engine, text, tolerance(name));
          await checkLosses(engine, text, tolerance(name), mode === "exact");
        }
        await source.close();
      },
    );
  }
}

for (const [name, makeTeam] of Object.entries(predictorTeams)) {
  Deno.test(`${name}: what the predictor selects, and what it misses, is the golden's`, async () => {
    const source = await openFile(
      fixtureUrl("small-bamboo/f16.powerinfer.gguf"),
    );
    const model = describeModel(await readGguf(source));
    const team = await makeTeam(model, source, { mode: "predictor" });
    await using engine = new Engine(team, model.vocabSize);
    for (const text of small.predictor) {
      const before = engine.stats().layers.map((layer) => ({ ...layer }));
      using sequence = engine.createSequence();
      const ids = [...text.prompt_ids, ...text.greedy_ids];
      await engine.evaluate(sequence, ids, "none");
      engine.stats().layers.forEach(({ predicted, truth, recalled }, i) => {
        assert.deepEqual(
          [
            predicted - before[i].predicted,
            truth - before[i].truth,
            recalled - before[i].recalled,
          ],
          [
            sum(text.predicted_neurons_by_layer_and_position[i]),
            sum(text.active_neurons_by_layer_and_position[i]),
            sum(text.recalled_neurons_by_layer_and_position[i]),
          ],
        );
      });
    }
    await source.close();
  });
}

/** Trained predictors, and the statistics of their training, are the makers' alone. */
const trained = "tiny-bamboo/gguf/tiny-bamboo-f16.powerinfer.gguf";
if (hasShared(trained) && hasShared("data/text")) {
  Deno.test("the predictor's share and recall are those of stats.json within two points", async () => {
    const stats: { layers: LayerStat[] } = JSON.parse(
      await Deno.readTextFile(fixtureUrl("tiny-bamboo/stats.json")),
    );
    const source = await openFile(sharedUrl(trained));
    const file = await readGguf(source);
    const model = describeModel(file);
    const tokenizer = tokenizerFromGguf(file);
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
  });
}
