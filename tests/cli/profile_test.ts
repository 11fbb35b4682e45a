import assert from "node:assert/strict";
import { type LanguageModel, load } from "../../mod.ts";
import {
  mergeProfiles,
  type Profile,
  readProfile,
  writeProfile,
} from "../../plan.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { benchTokens } from "../../cli/commands/bench/runs.ts";
import {
  type Counted,
  countWindows,
  hashOf,
  windowsOf,
} from "../../cli/commands/profile/run.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { randomModel } from "../helpers/random_model.ts";
import { embeddedAsF32 } from "../helpers/bamboo_files.ts";
import { stopped } from "./interrupted.ts";
import { type CliResult, runCli, runHere } from "./run_cli.ts";
import { namesIn, tinyFolder } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];

function culm(...args: string[]): Promise<CliResult> {
  return runHere(args);
}

function tiny(): Promise<LanguageModel> {
  return load(tinyBamboo(), { threads: 0, countNeurons: true });
}

async function longText(tokens: number): Promise<string> {
  await using model = await tiny();
  return model.detokenize(benchTokens(model, tokens));
}

async function readCounts(path: string): Promise<Profile> {
  const { profile, progress } = await readProfile(
    fromBuffer(await Deno.readFile(path)),
  );
  assert.equal(progress, undefined, "the profile is finished");
  return profile;
}

async function countAll(text: string, size: number): Promise<Profile> {
  await using model = await tiny();
  const windows = windowsOf(model.tokenizer, [text], size);
  const { signal } = new AbortController();
  const states = await Array.fromAsync(
    countWindows(model.engine, windows, undefined, signal),
  );
  return states.at(-1)!.profile;
}

Deno.test("windows hold the text once, each begun as a text begins", async () => {
  await using model = await tiny();
  const { tokenizer } = model;
  const texts = ["Tom had a red ball.", "", "Lily went home. She slept."];
  const windows = windowsOf(tokenizer, texts, 4);
  assert(windows.every(({ length }) => length > 1 && length <= 4));
  assert(windows.every(([first]) => first === tokenizer.bos));
  assert.deepEqual(
    windows.flatMap((ids) => ids.slice(1)),
    texts.flatMap((text) => tokenizer.encode(text, { addSpecial: false })),
  );
  const other = windowsOf(tokenizer, texts, 5);
  assert.notEqual(await hashOf(windows), await hashOf(other));
});

Deno.test("work that is stopped anywhere and taken up again gives the same counts", async () => {
  const text = await longText(150);
  const whole = await countAll(text, 32);
  let counted: Counted | undefined;
  for (let runs = 0; counted?.profile.tokens !== whole.tokens; runs++) {
    assert(runs < 6, "each run gets further");
    await using model = await tiny();
    const windows = windowsOf(model.tokenizer, [text], 32);
    const controller = new AbortController();
    const { signal } = controller;
    const states = countWindows(model.engine, windows, counted, signal);
    try {
      for await (counted of states) {
        setTimeout(() => controller.abort(), 0); // in the middle of the next one
      }
    } catch (error) {
      assert.equal((error as Error).name, "AbortError");
    }
  }
  assert.deepEqual(counted?.profile, whole);
});

Deno.test({
  name: "Ctrl-C keeps the counts, and the same command goes on",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await tinyFolder();
    const text = await longText(2000);
    await Deno.writeTextFile(`${dir.path}/text.txt`, text);
    // One thread sums as none does; the order of sums may make a neuron fire.
    const args = ["profile", "-m", `${dir.path}/tiny.gguf`, "-c", "64"];
    args.push("-f", `${dir.path}/text.txt`, "-t", "1");
    const interrupted = await stopped(args, {
      permissions,
      when: `${dir.path}/tiny.gguf.profile`,
    });
    assert.equal(interrupted.code, 130, interrupted.err);
    assert.match(
      interrupted.err,
      /kept the counts of [1-9]\d* of \d+ tokens/,
    );

    const { code, err: rest } = await runHere(args);
    assert.equal(code, 0, rest);
    assert.match(rest, /wrote .*tiny\.gguf\.profile: \d+ tokens/);
    assert.deepEqual(
      await readCounts(`${dir.path}/tiny.gguf.profile`),
      await countAll(text, 64),
    );
    const names = await namesIn(dir.path);
    assert(!names.some((name) => name.endsWith(".part")));
  },
});

Deno.test("several texts and standard input are counted, profiles are added up", async () => {
  await using dir = await tinyFolder();
  const model = ["-m", `${dir.path}/tiny.gguf`, "-t", "1"];
  const at = (name: string) => `${dir.path}/${name}`;
  await Deno.writeTextFile(at("a.txt"), "Tom had a red ball.");
  await Deno.writeTextFile(at("b.txt"), "Lily went home. She slept.");
  const both = ["-f", at("a.txt"), "-f", at("b.txt")];
  await culm("profile", ...model, ...both, "-o", at("both"));
  await culm("profile", ...model, "-f", at("a.txt"), "-o", at("a"));
  const piped = await runHere(["profile", ...model, "-o", at("b")], {
    input: await Deno.readTextFile(at("b.txt")),
  });
  assert.equal(piped.code, 0, piped.err);
  const merged = await culm("profile", ...model, "--merge", at("a"), at("b"));
  assert.equal(merged.code, 0, merged.err);
  const sum = await readCounts(at("tiny.gguf.profile"));
  assert.deepEqual(sum, await readCounts(at("both")));
  assert.deepEqual(
    sum,
    mergeProfiles([await readCounts(at("a")), await readCounts(at("b"))]),
  );
});

Deno.test("the profile beside the model is found; one that does not fit is left out, or refused where it was named", async () => {
  await using dir = await tinyFolder();
  const beside = `${dir.path}/tiny.gguf.profile`;
  const args = ["generate", "-m", `${dir.path}/tiny.gguf`, "-p", "Tom had a"];
  args.push("-n", "12", "--temp", "0", "-t", "2");
  const without = await runCli(args, { permissions: ["--allow-read"] });
  assert.match(without.err, /^profile: none; /m);
  await assert.rejects(Deno.stat(beside), Deno.errors.NotFound);
  await Deno.writeTextFile(`${dir.path}/text.txt`, await longText(60));
  await culm("profile", ...args.slice(1, 3), "-f", `${dir.path}/text.txt`);

  const found = await culm(...args);
  assert.match(found.err, /^profile: \d+ tokens, from .*tiny\.gguf\.profile$/m);
  assert.equal(found.out, without.out);
  for (const hot of ["0", "0.5", "1"]) {
    assert.equal((await culm(...args, "--hot", hot)).out, without.out);
  }
  const hot = await culm(...args, "--no-profile", "--hot", "0.5");
  assert.match(hot.err, /^error: .*no profile says which neurons are hot\n$/);
  const off = await culm(...args, "--no-profile");
  assert.doesNotMatch(off.err, /profile/);
  assert.equal(off.out, without.out);

  const layers = [{
    gatePositive: new Uint32Array(5),
    active: new Uint32Array(5),
  }];
  const wrong = await writeProfile({ profile: { tokens: 1, layers } });
  await Deno.writeFile(beside, wrong);
  const ignored = await culm(...args);
  assert.match(
    ignored.err,
    /^warning: .*1 layers of 5 neurons, the model.*going on without .*$/m,
  );
  assert.deepEqual([ignored.code, ignored.out], [0, without.out]);
  const named = await culm(...args, "--profile", beside);
  assert.match(named.err, /^error: .*1 layers of 5 neurons[^\n]*\n$/);
  assert.equal(named.code, 1);
});

Deno.test("where nobody counted, generating does where it is asked to, until there are enough tokens", async () => {
  await using dir = await tinyFolder();
  const model = ["-m", `${dir.path}/tiny.gguf`];
  const beside = `${dir.path}/tiny.gguf.profile`;
  const args = ["generate", ...model, "-p", "Tom had a", "-n", "12"];
  args.push("--temp", "0", "-t", "2");
  const read = async () =>
    await readProfile(fromBuffer(await Deno.readFile(beside)));
  await culm(...args, "--no-profile", "--grow-profile");
  await assert.rejects(Deno.stat(beside), Deno.errors.NotFound);
  const plain = await culm(...args);
  assert.match(plain.err, /^profile: none; with one, /m);
  assert.deepEqual(await namesIn(dir.path), ["tiny.gguf"]);
  args.push("--grow-profile");

  const first = await culm(...args);
  assert.match(first.err, /^profile: none yet; what fires is counted/m);
  assert.match(
    first.err,
    /^profile: 15 tokens now, in .*tiny\.gguf\.profile$/m,
  );
  const { profile } = await read();
  const second = await culm(...args);
  assert.match(second.err, /^profile: 15 tokens, from /m);
  assert.match(second.err, /^profile: 30 tokens now, /m);
  assert.equal(second.out, first.out);
  assert.deepEqual((await read()).profile, mergeProfiles([profile, profile]));

  const talk = await runHere(["chat", ...model, "-n", "4", "--grow-profile"], {
    input: "Hello\n",
  });
  assert.match(talk.err, /^profile: \d+ tokens now, /m);

  // Nearly enough: one run finishes it, the next leaves it alone.
  const { progress } = await read();
  const many = { tokens: 4090, layers: profile.layers };
  await Deno.writeFile(beside, await writeProfile({ profile: many, progress }));
  assert.match((await culm(...args)).err, /^profile: 4105 tokens now/m);
  assert.doesNotMatch((await culm(...args)).err, /tokens now/);
  assert.equal((await readCounts(beside)).tokens, 4105);

  // A text that is counted on purpose takes its place.
  await Deno.writeFile(beside, await writeProfile({ profile, progress }));
  await Deno.writeTextFile(`${dir.path}/text.txt`, "Tom had a red ball.");
  await culm("profile", ...model, "-f", `${dir.path}/text.txt`, "-t", "1");
  assert.deepEqual(
    await readCounts(beside),
    await countAll("Tom had a red ball.", 512),
  );
});

Deno.test("nothing is overwritten unasked, and bad input is reported in one line", async (t) => {
  await using dir = await tinyFolder();
  const at = (name: string) => `${dir.path}/${name}`;
  const model = ["-m", at("tiny.gguf")];
  const swiglu = await randomModel({ architecture: "llama" });
  await Deno.writeFile(at("swiglu.gguf"), swiglu.bytes);
  await Deno.writeTextFile(at("text.txt"), "Tom had a red ball.");
  await Deno.writeTextFile(at("empty.txt"), "");
  const layers = [{
    gatePositive: new Uint32Array(5),
    active: new Uint32Array(5),
  }];
  const small = { profile: { tokens: 1, layers } };
  await Deno.writeFile(at("done"), await writeProfile(small));
  const counts = () => new Uint32Array(1024);
  const fitting = Array.from(
    { length: 6 },
    () => ({ gatePositive: counts(), active: counts() }),
  );
  await Deno.writeFile(
    at("fitting"),
    await writeProfile({ profile: { tokens: 1, layers: fitting } }),
  );
  const progress = { text: "00", position: 1 };
  const unfinished = await writeProfile({ ...small, progress });
  await Deno.writeFile(at("unfinished"), unfinished);
  const text = ["-f", at("text.txt")];
  const wrong: [string[], number, RegExp][] = [
    [[...text], 2, /give -o FILE/],
    [[...model, ...text, "--merge", at("done")], 2, /one of -f/],
    [[...model, ...text, "-o", at("done")], 1, /it is there already; --force/],
    [
      ["--merge", at("done"), "-o", at("done")],
      1,
      /it is there already; --force/,
    ],
    [[...model, "--merge", at("done")], 1, /1 layers of 5 neurons, the model/],
    [[...model, "--merge", at("none")], 1, /none: there is no such file/],
    [[...model, "--merge", at("tiny.gguf")], 1, /general\.type is not/],
    [
      [...model, "--reorder", at("done"), "--profile", at("fitting")],
      1,
      /it is there already; --force/,
    ],
    [[...model, "--reorder", at("new")], 1, /without a profile: count one/],
    [
      [...model, "--reorder", at("new"), "--profile", at("done")],
      1,
      /1 layers of 5 neurons, the model/,
    ],
    [
      [...model, "--reorder", at("new"), "--profile", at("fitting")],
      1,
      /blk\.0\.ffn_down\.weight: Q8_0 keeps 32 neurons/,
    ],
    [[...model, "-f", at("none")], 1, /none: there is no such file/],
  ];
  for (const [args, code, message] of wrong) {
    await t.step(`culm profile ${args.join(" ")}`, async () => {
      const result = await runHere(["profile", ...args]);
      assert.match(result.err, message);
      assert.match(result.err, /^error: [^\n]+\n$/);
      assert.deepEqual([result.code, result.out], [code, ""]);
    });
  }
  const loaded: [string[], RegExp][] = [
    [[...model, "-f", at("empty.txt")], /an empty text/],
    [[...model, ...text, "-o", at("unfinished")], /profile of another text/],
    [["-m", at("swiglu.gguf"), ...text], /activation swiglu/],
    [[...model, ...text, "-o", at("no/where")], /there is no such folder/],
  ];
  for (const [args, message] of loaded) {
    await t.step(`culm profile ${args.join(" ")}`, async () => {
      const { code, err } = await runHere(["profile", ...args, "-t", "1"]);
      assert.match(err.trimEnd().split("\n").at(-1)!, /^error: /);
      assert.match(err, message);
      assert.equal(code, 1);
    });
  }
  assert.deepEqual(await Deno.readFile(at("unfinished")), unfinished);
  const names = await namesIn(dir.path);
  assert(!names.some((name) => name === "new" || name.endsWith(".part")));
  const forced = await culm(
    "profile",
    ...model,
    ...text,
    "-o",
    at("done"),
    "--force",
  );
  assert.equal(forced.code, 0, forced.err);
  assert((await readCounts(at("done"))).tokens > 4);
});

Deno.test(
  "a reordered file is found to be one, and says the same",
  async () => {
    await using dir = await tinyFolder();
    const original = `${dir.path}/sparse.gguf`;
    const source = await embeddedAsF32("powerinfer");
    await Deno.writeFile(original, await source.read(0, source.size));
    const made = `${dir.path}/made.gguf`;
    await Deno.writeTextFile(`${dir.path}/text.txt`, await longText(60));
    const profile = ["-o", `${dir.path}/f16.profile`];
    await culm(
      "profile",
      "-m",
      original,
      "-f",
      `${dir.path}/text.txt`,
      ...profile,
    );
    const written = await culm(
      ...["profile", "-m", original, "--profile", `${dir.path}/f16.profile`],
      ...["--reorder", made],
    );
    assert.equal(written.code, 0, written.err);
    const prompt = ["-p", "Tom had a", "-n", "30", "--temp", "0"];
    const before = await culm(
      ...["generate", "-m", original, "--no-profile", ...prompt],
    );
    for (const more of [[], ["--no-profile"], ["--hot", "0.3", "-t", "3"]]) {
      const after = await culm("generate", "-m", made, ...prompt, ...more);
      assert.equal(after.out, before.out);
      assert.equal(
        /^profile: \d+ tokens, in the model file$/m.test(after.err),
        !more.includes("--no-profile"),
      );
    }
  },
);
