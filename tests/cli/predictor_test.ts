/** culm predictor as a user runs it, and what it makes, on every place. */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import {
  describeModel,
  fromBuffer,
  type Model,
  openFile,
  readGguf,
} from "../../gguf.ts";
import type { Profile } from "../../plan.ts";
import { benchTokens } from "../../cli/commands/bench/runs.ts";
import { loadKernels } from "../../src/kernels/kernels.ts";
import { loadCpuPlaces } from "../../src/places/load_places.ts";
import { startTeam } from "../../src/places/start.ts";
import { LoadProgress } from "../../src/places/load_progress.ts";
import { ReferencePlace } from "../../src/places/reference/reference_place.ts";
import { InlineTeam } from "../../src/places/inline_team.ts";
import type { Team } from "../../src/places/team.ts";
import { Engine } from "../../src/engine/engine.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { withPredictor } from "../../src/model/predictor_file.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { randomModel } from "../helpers/random_model.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { type CliResult, runCli, runHere } from "./run_cli.ts";
import { namesIn, type TempFolder, tinyFolder } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];

/** A folder with tiny-bamboo and a text in it, away when the test ends. */
async function folder(): Promise<TempFolder> {
  const dir = await tinyFolder();
  await Deno.writeTextFile(`${dir.path}/text.txt`, await story(1, 600));
  return dir;
}

/** A text that the model wrote itself: of the kind that it is asked to write. */
async function story(seed: number, maxTokens: number): Promise<string> {
  await using model = await load(tinyBamboo(), { threads: 1 });
  let text = "";
  for (let i = 0; maxTokens > 0; i++, maxTokens -= 300) {
    const options = { seed: 100 * seed + i, maxTokens: 300, ignoreEos: true };
    for await (const piece of model.generate("Once upon a time", options)) {
      text += piece.text;
    }
    text += "\n\n";
  }
  return text;
}

function culm(...args: string[]): Promise<CliResult> {
  return runHere(args);
}

function lastLine({ err }: CliResult): string {
  return err.trimEnd().split("\n").at(-1)!;
}

Deno.test("a predictor made of a text asks for few neurons, and for nearly all that fire, on another text", async () => {
  await using dir = await folder();
  const model = ["-m", `${dir.path}/tiny.gguf`];
  const before = await culm(
    ...["generate", ...model, "--sparsity", "predictor", "-p", "Tom"],
  );
  assert.match(
    lastLine(before),
    /^error: .*the file has none .*culm predictor/,
  );

  const made = await runCli([
    ...["predictor", ...model, "-f", `${dir.path}/text.txt`],
    ...["--recall", "0.95", "-t", "1", "-c", "256"],
  ], { permissions });
  assert.equal(made.code, 0, made.err);
  assert.match(
    lastLine(made),
    /^wrote .*tiny\.gguf\.predictor: rank 64, 95\.0 % of firing neurons, from 6\d\d tokens; /,
  );
  const predictor = `${dir.path}/tiny.gguf.predictor`;
  await using measured = await load(tinyBamboo(), {
    threads: 1,
    sparsity: { mode: "predictor" },
    measureRecall: true,
    predictor,
  });
  const { engine } = measured;
  using sequence = engine.createSequence();
  const text = measured.tokenize(await story(2, 300)).slice(0, 400);
  await engine.evaluate(sequence, text, "none");
  const total = (name: "neurons" | "predicted" | "truth" | "recalled") =>
    engine.stats().layers.reduce((sum, layer) => sum + layer[name], 0);
  const share = total("predicted") / total("neurons");
  const recall = total("recalled") / total("truth");
  assert(recall > 0.85, `recall ${recall}`);
  assert(share < 0.55, `selects ${share}`);

  const args = ["bench", ...model, "-p", "16", "-n", "0", "-r", "1", "-t", "1"];
  const asked = [...args, "--sparsity", "predictor", "--measure-recall"];
  const bench = await culm(...asked, "-o", "json");
  assert.match(
    bench.err,
    /^predictor: rank 64, from .*tiny\.gguf\.predictor$/m,
  );
  assert.match(
    bench.err,
    /^pp16: the predictor selects [\d.]+ % of the neurons, [\d.]+ % of those that fire, and misses [\d.]+ % of the sum of \|h\|$/m,
  );
  const [row] = JSON.parse(bench.out);
  assert(row.predicted > 0.1 && row.predicted < 0.7, `${row.predicted}`);
  assert(row.recall > 0.7 && row.recall <= 1, `${row.recall}`);
  assert(row.missed_mass >= 0 && row.missed_mass < 1 - row.recall);
  const exact = await culm(...args, "--measure-recall");
  assert.match(lastLine(exact), /^error: .*recall with sparsity exact/);
  assert.equal(exact.code, 2);
});

Deno.test("a trained predictor is measured beside others, and gives the same text from a PowerInfer file", async () => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  await Deno.writeTextFile(at("other.txt"), await story(2, 300));
  const model = ["-m", at("tiny.gguf"), "-t", "1"];
  const make = [
    ...["predictor", ...model, "-f", at("text.txt"), "-c", "128"],
    ...["--recall", "0.9", "--rank", "32"],
  ];
  const train = [...make, "--train", "--examples", "1024"];
  const free = await culm(...make, "-o", at("free"));
  assert.equal(free.code, 0, free.err);
  const trained = await culm(...train, "--measure", at("other.txt"));
  assert.equal(trained.code, 0, trained.err);
  assert.match(
    trained.err,
    /^wrote .*tiny\.gguf\.predictor: rank 32, 90\.0 % of firing neurons, from 6\d\d tokens; /m,
  );
  const [headings, , exact, row] = trained.out.split("\n");
  assert.match(headings, /^\| predictor +\| method +\| +rank \| +bytes \|/);
  assert.match(exact, /^\| exact +\| - +\| /);
  assert.match(row, /^\| tiny\.gguf\.predictor \| trained +\| +32 \| /);

  const file = at("tiny.powerinfer.gguf");
  const written = await culm(...train, "-o", file);
  assert.equal(written.code, 0, written.err);
  const { magic, metadata, tensors } = await readGguf(await openFile(file));
  assert.equal(magic, "PWRI");
  assert.equal(metadata.get("powerinfer.sparse_threshold")?.value, 0);
  const dense = await readGguf(await openFile(at("tiny.gguf")));
  for (let layer = 0; layer < 6; layer++) {
    const of = (name: string) => tensors.get(`blk.${layer}.${name}.weight`);
    assert.deepEqual(of("fc1")?.shape, [256, 32]);
    assert.deepEqual(of("fc2")?.shape, [32, 1024]);
    const down = dense.tensors.get(`blk.${layer}.ffn_down.weight`)!;
    assert.equal(of("ffn_down_t")?.type, down.type);
    assert.equal(of("ffn_down"), undefined);
  }
  const generate = async (...args: string[]) => {
    const { code, out, err } = await culm(
      ...["generate", "-t", "1", "-p", "Once upon a time", "-n", "24"],
      ...["--temp", "0", "--sparsity", "predictor", ...args],
    );
    assert.equal(code, 0, err);
    return out;
  };
  const own = await generate("-m", file);
  const beside = ["--predictor", at("tiny.gguf.predictor")];
  assert.equal(await generate("-m", file, ...beside), own);

  const compared = await culm(
    ...["predictor", "-m", file, "-t", "1", "-c", "128", "--chunks", "2"],
    ...["--measure", at("other.txt"), "--json", "--predictor", at("free")],
    ...beside,
  );
  assert.equal(compared.code, 0, compared.err);
  const { chunks, contextSize, rows } = JSON.parse(compared.out);
  assert.deepEqual([chunks, contextSize, rows.length], [2, 128, 3]);
  assert.equal(rows[0].name, "exact");
  assert.deepEqual(
    rows.slice(1).map(({ method }: { method: string }) => method),
    ["training-free", "trained"],
  );
  for (const each of rows.slice(1)) {
    assert.deepEqual(each.rank, [32, 32, 32]);
    assert.equal(each.bytes, 6 * (32 * 256 * 34 / 32 + 32 * 1024 * 18 / 32));
    assert(each.recall > 0.75 && each.recall < 1, `recall ${each.recall}`);
    assert(each.predicted < 0.6, `selects ${each.predicted}`);
    assert(each.missedMass < 1 - each.recall);
    assert(Math.abs(each.perplexity / rows[0].perplexity - 1) < 0.2);
  }
  const ownRow = await culm(
    ...["predictor", "-m", file, "-t", "1", "-c", "128", "--chunks", "2"],
    ...["--measure", at("other.txt"), "--json"],
  );
  const found = JSON.parse(ownRow.out).rows[1];
  assert.deepEqual(
    { ...found, name: undefined },
    { ...rows[2], name: undefined },
  );
});

/** Counts that follow no pattern. */
function randomProfile({ layers, feedForwardSize }: Model): Profile {
  const random = seededRandom(3);
  const counts = () =>
    Uint32Array.from({ length: feedForwardSize }, () => random() * 100);
  return {
    tokens: 100,
    layers: layers.map(() => ({ gatePositive: counts(), active: counts() })),
  };
}

Deno.test("with a predictor, every place and every order of neurons gives the reference's logits", async () => {
  await using dir = await folder();
  await culm(
    ...["predictor", "-m", `${dir.path}/tiny.gguf`, "-t", "1"],
    ...["-f", `${dir.path}/text.txt`, "--tokens", "200", "--recall", "0.9"],
  );
  const own = tinyBamboo();
  const file = await openFile(`${dir.path}/tiny.gguf.predictor`);
  const { model, source } = await withPredictor(
    describeModel(await readGguf(own)),
    own,
    file,
  );
  const limits = { tokens: 32, contextSize: 64 };
  const sparsity = { mode: "predictor" as const };
  const common = { model, sparsity, limits, measureRecall: false } as const;
  const inline = async (places: number, profile?: Profile, hotShare = 0) => {
    const plan = splitEvenly(model, places, profile);
    const options = { ...common, plan, cacheType: "f32" as const, hotShare };
    const { module } = await loadKernels();
    const made = await loadCpuPlaces(
      module,
      source,
      options,
      new LoadProgress(0),
    );
    return new InlineTeam("cpu", options, { cpu: made });
  };
  const profile = randomProfile(model);
  const plan = splitEvenly(model, 1);
  const reference = new InlineTeam("reference", {
    model,
    plan,
    sparsity,
    limits,
    cacheType: "f32",
  }, {
    cpu: [await ReferencePlace.load(model, plan.places[0], sparsity, source)],
  });
  const threads = (count: number, profile?: Profile) =>
    startTeam(source, count, {
      ...common,
      cacheType: "f32",
      profile,
      hotShare: 0,
    });
  const teams = {
    "one place": await inline(1),
    "three places, ordered": await inline(3, profile),
    "two threads": await threads(2),
    "three threads, ordered": await threads(3, profile),
  };
  const run = async (team: Team) => {
    await using engine = new Engine(team, model.vocabSize);
    using sequence = engine.createSequence();
    const rows = await engine.evaluate(sequence, text.slice(0, 20), "all");
    for (const id of text.slice(20, 26)) {
      rows.push(...await engine.evaluate(sequence, [id]));
    }
    return { rows, layers: engine.stats().layers };
  };
  await using embedded = await load(tinyBamboo(), { threads: 0 });
  const text = benchTokens(embedded, 26);
  const expected = await run(reference);
  const asked = (layers: typeof expected.layers) =>
    layers.reduce((sum, { predicted }) => sum + predicted, 0);
  for (const [name, team] of Object.entries(teams)) {
    const { rows, layers } = await run(team);
    let difference = 0, size = 0;
    rows.forEach((row, t) =>
      row.forEach((value, i) => {
        difference += (value - expected.rows[t][i]) ** 2;
        size += expected.rows[t][i] ** 2;
      })
    );
    const error = Math.sqrt(difference / size);
    assert(error < 0.03, `${name}: logits differ by ${error}`);
    const ratio = asked(layers) / asked(expected.layers);
    assert(
      Math.abs(ratio - 1) < 0.01,
      `${name}: selects ${ratio} times as many`,
    );
  }
  // Rows that are always hot are computed whatever the predictor says.
  const hot = await run(await inline(2, profile, 1));
  assert.equal(asked(hot.layers), 26 * 6 * model.feedForwardSize);
  await file.close();
});

Deno.test("nothing is overwritten unasked, and bad input is reported in one line", async (t) => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  const model = ["-m", at("tiny.gguf")], text = ["-f", at("text.txt")];
  const swiglu = await randomModel({ architecture: "llama" });
  const other = await randomModel();
  await Deno.writeFile(at("swiglu.gguf"), swiglu.bytes);
  await Deno.writeFile(at("other.gguf"), other.bytes);
  await Deno.writeTextFile(at("short.txt"), "Tom had a red ball.");
  await Deno.writeTextFile(at("there"), "");
  const make = ["predictor", ...model, ...text, "--tokens", "100", "-t", "1"];
  const made = await culm(...make, "-o", at("made"), "--rank", "32");
  assert.equal(made.code, 0, made.err);
  const bytes = await Deno.readFile(at("made"));
  await Deno.writeFile(at("cut"), bytes.subarray(0, bytes.length - 999));
  const predict = [
    "-p",
    "Tom",
    "-n",
    "1",
    "-t",
    "1",
    "--sparsity",
    "predictor",
  ];
  const generate = ["generate", ...model, ...predict, "--predictor"];
  const wrong: [string[], number, RegExp][] = [
    [["predictor", ...text], 2, /give -o FILE/],
    [[...make, "-o", at("there")], 1, /it is there already; --force/],
    [[...make, "--rank", "300"], 1, /rank 300: needs a whole number .* to 256/],
    [[...make, "--recall", "1"], 1, /recall 1: needs a number above 0, below/],
    [[...make, "--recall", "2"], 2, /it is a number from 0 to 1/],
    [["predictor", ...model, "-f", at("none")], 1, /there is no such file/],
    [
      ["predictor", "-m", at("swiglu.gguf"), ...text],
      1,
      /activation swiglu: its neurons are never zero/,
    ],
    [
      ["predictor", ...model, "-f", at("short.txt"), "-t", "1"],
      1,
      /from \d tokens: needs 64 or more/,
    ],
    [[...make, "-o", at("no/where")], 1, /there is no such folder/],
    [
      [...make, "-o", at("new.gguf")],
      2,
      /whose predictors have a ReLU: .*--train/,
    ],
    [
      [...make, "--train", "--activation", "drelu", "-o", at("new.gguf")],
      2,
      /with --activation/,
    ],
    [
      [...make, "--train", "--examples", "9"],
      1,
      /on 9 examples: .* from 64 up/,
    ],
    [[...make, "--train", "--epochs", "0"], 2, /whole number from 1 up/],
    [[...make, "--epochs", "2"], 2, /without --train/],
    [[...make, "--json"], 2, /without a text: give --measure/],
    [[...make, "--measure", at("none")], 1, /there is no such file/],
    [
      [
        "predictor",
        ...model,
        "--measure",
        at("text.txt"),
        "-c",
        "128",
        "-t",
        "1",
      ],
      1,
      /the file has none/,
    ],
    [[...generate, at("none")], 1, /none: there is no such file/],
    [[...generate, at("cut")], 1, /needs bytes \d+\.\.\d+, the file has/],
    [[...generate, at("tiny.gguf")], 1, /general\.type is not/],
    [
      [
        "generate",
        "-m",
        at("other.gguf"),
        ...predict,
        "--predictor",
        at("made"),
      ],
      1,
      /made for another model \([0-9a-f]{12}, this one is/,
    ],
    [
      ["generate", ...model, "-p", "Tom", "--predictor", at("made")],
      1,
      /sparsity exact: it needs sparsity predictor/,
    ],
  ];
  for (const [args, code, message] of wrong) {
    await t.step(`culm ${args.join(" ")}`, async () => {
      const result = await runHere(args);
      assert.match(lastLine(result), /^error: [^\n]+$/);
      assert.match(lastLine(result), message);
      assert.deepEqual([result.code, result.out], [code, ""]);
    });
  }
  const named = await culm(...generate, at("made"));
  assert.equal(named.code, 0, named.err);
  assert.match(named.err, /^predictor: rank 32, from .*made$/m);
  const names = await namesIn(dir.path);
  assert(!names.some((name) => name.endsWith(".part")));
  assert(!names.includes("tiny.gguf.predictor"));
  assert.equal((await Deno.stat(at("there"))).size, 0);
  const forced = await culm(...make, "-o", at("there"), "--force");
  assert.equal(forced.code, 0, forced.err);
  await readGguf(fromBuffer(await Deno.readFile(at("there"))));
});
