import assert from "node:assert/strict";
import { fixturePath } from "../helpers/fixtures.ts";
import { stopped } from "./interrupted.ts";
import { runHere } from "./run_cli.ts";
import { inFolder, namesIn, tempFolder } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];
const tiny = fixturePath("small-bamboo/hf");
const predictors = fixturePath("small-bamboo/predictor");

const culm = (...args: string[]) => runHere(args);

Deno.test(
  "a folder becomes a file of either form, which runs, and becomes another",
  async () => {
    await inFolder(async (folder) => {
      const sparse = `${folder}/sparse.gguf`, dense = `${folder}/dense.gguf`;
      const { code, out, err } = await culm(
        ...["convert", tiny, "-o", sparse],
        ...["--type", "q4_0", "--predictors", predictors],
      );
      assert.deepEqual([code, out], [0, ""]);
      assert.match(err, /^wrote .*sparse\.gguf: [\d.]+ KiB in [\d.]+ s\n$/);
      const inspect = (await culm("inspect", "-m", sparse)).out;
      assert.match(inspect, /PWRI version 3/);
      assert.match(inspect, /architecture +bamboo, drelu, with predictors\n/);

      const again = [sparse, "-o", dense, "--form", "llama", "--type", "q8_0"];
      const refused = await culm("convert", ...again);
      assert.equal(refused.code, 1);
      assert.match(refused.err, /twice .*--allow-requantize\)\n$/);
      again.push("--allow-requantize");
      assert.equal((await culm("convert", ...again)).code, 0);
      assert.match(
        (await culm("inspect", "-m", dense)).out,
        /architecture +bamboo, drelu\n/,
      );
      for (const model of [sparse, dense, tiny]) {
        const run = ["-m", model, "-p", "One day", "-n", "4", "--temp", "0"];
        // No profile is to grow beside the fixture.
        const result = await culm("generate", ...run, "--no-profile");
        assert.equal(result.code, 0, result.err);
      }
    });
  },
);

Deno.test(
  "what cannot be converted or written is reported in one line, and leaves nothing behind",
  async (t) => {
    await inFolder(async (folder) => {
      const path = `${folder}/model.gguf`, there = `${folder}/there`;
      const empty = `${folder}/empty`;
      await Deno.mkdir(empty);
      await Deno.writeTextFile(there, "mine");
      const output = ["-o", path];
      const wrong: [string[], number, RegExp][] = [
        [output, 2, /missing required argument '<source>'/],
        [[tiny], 2, /required option '-o, --output <file>'/],
        [[tiny, ...output, "--type", "q9"], 2, /one of f32, f16/],
        [[tiny, ...output, "--form", "onnx"], 2, /one of llama, powerinfer/],
        [[tiny, tiny, ...output], 2, /too many arguments/],
        [[`${folder}/none`, ...output], 1, /there is no such file/],
        [[there, ...output], 1, /begins with GGUF or PWRI/],
        [[empty, ...output], 1, /it is a directory without config\.json/],
        [[tiny, "-o", there], 1, /it is there already; --force replaces it/],
        [[tiny, "-o", `${folder}/no/model.gguf`], 1, /there is no such folder/],
        [
          [tiny, ...output, "--predictors", empty],
          1,
          /model_0\.pt: there is no/,
        ],
        [
          [tiny, ...output, "--predictors", predictors, "--form", "llama"],
          1,
          /only powerinfer has them/,
        ],
      ];
      for (const [args, expected, message] of wrong) {
        await t.step(args.join(" ").replaceAll(folder, ""), async () => {
          const { code, out, err } = await runHere(["convert", ...args]);
          assert.match(err, message);
          assert.match(err, /^error: [^\n]+\n$/, "one line");
          assert.deepEqual([code, out], [expected, ""]);
        });
      }
      assert.deepEqual(await namesIn(folder), ["empty", "there"]);
      assert.equal(await Deno.readTextFile(there), "mine");
    });
  },
);

/** Writes a file of 21 tensors that is converted in half a second. */
const synth = (path: string, ...args: string[]) =>
  culm(
    ...["synth", "-o", path, "--shape", "small", "--type", "f16"],
    ...["--block-count", "2", "--vocab-size", "4000", ...args],
  );

/** Interrupts a conversion once that many bytes are written, and gives what it said. */
async function interrupted(
  args: readonly string[],
  path: string,
  bytes: number,
): Promise<string> {
  const when = `${path}.part`;
  const slowly = [...args, "-t", "1"];
  const { code, err } = await stopped(slowly, { permissions, when, bytes });
  assert.equal(code, 130);
  return err;
}

Deno.test({
  name:
    "Ctrl-C keeps whole tensors, and the same command goes on, whatever became of the part",
  ignore: Deno.build.os === "windows",
  fn: async (t) => {
    await using dir = await tempFolder();
    const at = (name: string) => `${dir.path}/${name}`;
    await synth(at("source.gguf"));
    await synth(at("other.gguf"), "--seed", "2");
    const type = ["--type", "q4_k_m"];
    const convert = (path: string, ...more: string[]) =>
      culm("convert", at("source.gguf"), "-o", path, ...type, ...more);
    assert.equal((await convert(at("whole.gguf"))).code, 0);
    const whole = await Deno.readFile(at("whole.gguf"));

    const path = at("model.gguf");
    const args = ["convert", at("source.gguf"), "-o", path, ...type];
    const said = await interrupted(args, path, whole.length / 4);
    const kept = Number(
      said.match(
        /^kept (\d+) of 21 tensors in .*model\.gguf\.convert; the same command goes on from there\ninterrupted\n$/,
      )?.[1],
    );
    assert.ok(kept >= 1 && kept < 21, said);
    const part = await Deno.readFile(`${path}.part`);
    assert.deepEqual(await namesIn(dir.path), [
      "model.gguf.convert",
      "model.gguf.part",
      "other.gguf",
      "source.gguf",
      "whole.gguf",
    ]);

    const refused: [string, string[]][] = [
      ["another type", [at("source.gguf"), "--type", "q4_0"]],
      ["another form", [at("source.gguf"), ...type, "--form", "llama"]],
      ["another source", [at("other.gguf"), ...type]],
    ];
    for (const [name, args] of refused) {
      await t.step(`${name} is refused`, async () => {
        const { code, err } = await culm("convert", "-o", path, ...args);
        assert.match(
          err,
          /^error: .* is of another unfinished convert[^\n]*\n$/,
        );
        assert.equal(code, 1);
        assert.deepEqual(await Deno.readFile(`${path}.part`), part);
      });
    }

    const changed = part.slice();
    changed[part.length >> 1] ^= 1;
    const header = part.slice();
    header[200] ^= 1;
    const parts: [string, Uint8Array | undefined, (left: number) => boolean][] =
      [
        ["as it was", part, (left) => left === kept],
        ["longer than was kept", whole, (left) => left === kept],
        [
          "cut short",
          part.subarray(0, part.length >> 1),
          (left) => left > 0 && left < kept,
        ],
        ["changed", changed, (left) => left > 0 && left < kept],
        ["with another header", header, (left) => left === 0],
        ["gone", undefined, (left) => left === 0],
      ];
    for (const [i, [name, bytes, isLeft]] of parts.entries()) {
      await t.step(`a part ${name}`, async () => {
        const copy = at(`copy${i}.gguf`);
        await Deno.copyFile(`${path}.convert`, `${copy}.convert`);
        if (bytes) await Deno.writeFile(`${copy}.part`, bytes);
        const { code, err } = await convert(copy);
        assert.equal(code, 0, err);
        const damage =
          /^warning: .*copy\d\.gguf\.part is damaged: (\d+) of the (\d+) tensors that were kept are whole$/m;
        const [, left = kept, all = kept] = err.match(damage) ?? [];
        assert.equal(Number(all), kept);
        assert.ok(isLeft(Number(left)), err);
        const goesOn = /^going on after (\d+) of 21 tensors$/m;
        assert.equal(Number(err.match(goesOn)?.[1] ?? 0), Number(left));
        assert.deepEqual(await Deno.readFile(copy), whole);
        await Deno.remove(copy);
      });
    }

    await t.step("--force goes on where the work is the same", async () => {
      await Deno.writeTextFile(path, "old");
      const { code, err } = await convert(path, "--force");
      assert.equal(code, 0);
      assert.match(err, /^going on after /m);
      assert.deepEqual(await Deno.readFile(path), whole);
    });
    await t.step("--force begins anew where it is not", async () => {
      await interrupted([...args, "--force"], path, whole.length / 4);
      const { code, err } = await culm(
        ...["convert", at("other.gguf"), "-o", path, ...type, "--force"],
      );
      assert.equal(code, 0);
      assert.match(err, /^wrote [^\n]*\n$/);
      assert.notDeepEqual(await Deno.readFile(path), whole);
    });
    assert.deepEqual(await namesIn(dir.path), [
      "model.gguf",
      "other.gguf",
      "source.gguf",
      "whole.gguf",
    ]);
  },
});

Deno.test({
  name: "Ctrl-C before a tensor is whole leaves nothing behind",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await tempFolder();
    const source = `${dir.path}/source.gguf`, path = `${dir.path}/model.gguf`;
    await synth(source, "--vocab-size", "40000", "--block-count", "1");
    const args = ["convert", source, "-o", path, "--type", "q4_k_m"];
    assert.equal(await interrupted(args, path, 1), "interrupted\n");
    assert.deepEqual(await namesIn(dir.path), ["source.gguf"]);
  },
});

Deno.test("a file is written in parts, which run as it does, and are joined again", async (t) => {
  await using dir = await tempFolder();
  const at = (name: string) => `${dir.path}/${name}`;
  const type = ["--type", "q8_0"];
  const source = at("source.gguf"), whole = at("whole.gguf");
  await synth(source);
  assert.equal((await culm("convert", source, "-o", whole, ...type)).code, 0);
  const size = (await Deno.stat(whole)).size;
  const most = ["--split-max-size", `${Math.ceil(size / 2500)}K`];
  const split = (path: string, ...more: string[]) =>
    culm("convert", source, "-o", path, ...type, ...most, ...more);

  const { code, err } = await split(at("model.gguf"));
  assert.equal(code, 0, err);
  const parts = [1, 2, 3].map((i) => at(`model-0000${i}-of-00003.gguf`));
  assert.ok(
    err.startsWith(`wrote ${parts.join(", ")}: `) && err.endsWith(" s\n"),
    err,
  );
  assert.deepEqual(
    (await namesIn(dir.path)).map((name) => at(name)),
    [...parts, source, whole],
  );
  await t.step("joined, it is the file that was never cut", async () => {
    const joined = at("joined.gguf");
    await culm("convert", parts[1], "-o", joined, ...type);
    assert.deepEqual(await Deno.readFile(joined), await Deno.readFile(whole));
    await Deno.remove(joined);
  });
  await t.step("any part stands for all", async () => {
    const text = async (model: string) => {
      const asked = ["-p", "a", "-n", "4", "--temp", "0", "-t", "1"];
      const { code, out, err } = await culm("generate", "-m", model, ...asked);
      assert.equal(code, 0, err);
      return out;
    };
    assert.equal(await text(parts[2]), await text(whole));
    const { out } = await culm("inspect", "-m", parts[0]);
    assert.match(out, /^files +3\n/m);
  });
  await t.step("a part is not replaced while others are read", async () => {
    const output = ["-o", parts[2], "--force", ...type];
    const { code, err } = await culm("convert", parts[0], ...output);
    assert.equal(code, 1);
    assert.match(err, /this command reads .*-00003-of-00003\.gguf, which is/);
  });
  await t.step("what fits one file stays one", async () => {
    const one = ["-o", at("one.gguf"), ...type, "--split-max-size", "1G"];
    assert.equal((await culm("convert", source, ...one)).code, 0);
    assert.deepEqual(
      await Deno.readFile(at("one.gguf")),
      await Deno.readFile(whole),
    );
    await Deno.remove(at("one.gguf"));
  });
  const wrong: [string[], number, RegExp][] = [
    [["--split-max-size", "1K"], 1, /up to 1000 bytes: tensor .* takes \d+$/m],
    [["--split-max-size", "1T"], 2, /--split-max-size 1T: must be a number/],
    [["--split-max-size", "0"], 2, /--split-max-size 0: must be a number/],
    [most, 1, /model-00001-of-00003\.gguf: it is there already; --force/],
  ];
  for (const [args, expected, message] of wrong) {
    await t.step(`refused: ${args.join(" ")}`, async () => {
      const output = ["-o", at("model.gguf"), ...type];
      const { code, err } = await culm("convert", source, ...output, ...args);
      assert.match(err, message);
      assert.match(err, /^error: [^\n]+\n$/);
      assert.equal(code, expected);
    });
  }
  await t.step("a part that is missing is named", async () => {
    await Deno.rename(parts[1], at("away"));
    const { code, err } = await culm("inspect", "-m", parts[0]);
    assert.equal(code, 1);
    assert.match(err, /^error: [^\n]*model-00002-of-00003\.gguf: there is no/);
    await Deno.rename(at("away"), parts[1]);
  });
  await t.step({
    name: "Ctrl-C in the second part, and on from there",
    ignore: Deno.build.os === "windows",
    fn: async () => {
      const path = at("again.gguf"), first = "again-00001-of-00003.gguf.part";
      const second = at("again-00002-of-00003.gguf");
      const args = ["convert", source, "-o", path, ...type, ...most];
      const said = await interrupted(args, second, size / 8);
      assert.match(said, /^kept \d+ of 21 tensors in .*again\.gguf\.convert;/);
      const names = await namesIn(dir.path);
      assert.ok(names.includes(first) && names.includes("again.gguf.convert"));
      const other = await split(path, "--split-max-size", "1G");
      assert.match(other.err, /is of another unfinished convert/);
      const { code, err } = await split(path);
      assert.equal(code, 0, err);
      assert.match(err, /^going on after \d+ of 21 tensors$/m);
      for (const [i, part] of parts.entries()) {
        assert.deepEqual(
          await Deno.readFile(at(`again-0000${i + 1}-of-00003.gguf`)),
          await Deno.readFile(part),
        );
      }
      assert.ok((await namesIn(dir.path)).every((name) => /gguf$/.test(name)));
    },
  });
});
