import assert from "node:assert/strict";
import { sharedUrl, testWithShared } from "../helpers/shared_data.ts";
import { runCli, startCli } from "./run_cli.ts";
import { inFolder, namesIn } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];
const tiny = sharedUrl("tiny-bamboo/hf").pathname;
const predictors = sharedUrl("tiny-bamboo/predictor").pathname;

const culm = (...args: string[]) => runCli(args, { permissions });

testWithShared(
  "a folder becomes a file of either form, which runs, and becomes another",
  async () => {
    await inFolder(async (folder) => {
      const sparse = `${folder}/sparse.gguf`, dense = `${folder}/dense.gguf`;
      const { code, out, err } = await culm(
        ...["convert", tiny, "-o", sparse],
        ...["--type", "q4_0", "--predictors", predictors],
      );
      assert.deepEqual([code, out], [0, ""]);
      assert.match(err, /^wrote .*sparse\.gguf: [\d.]+ MiB in [\d.]+ s\n$/);
      const inspect = (await culm("inspect", "-m", sparse)).out;
      assert.match(inspect, /PWRI version 3/);
      assert.match(inspect, /architecture +bamboo, drelu, with predictors\n/);

      const again = [sparse, "-o", dense, "--form", "llama", "--type", "q8_0"];
      assert.equal((await culm("convert", ...again)).code, 0);
      assert.match(
        (await culm("inspect", "-m", dense)).out,
        /architecture +bamboo, drelu\n/,
      );
      for (const model of [sparse, dense, tiny]) {
        const run = ["-m", model, "-p", "One day", "-n", "4", "--temp", "0"];
        // No profile is to grow beside the shared folder.
        const result = await culm("generate", ...run, "--no-profile");
        assert.equal(result.code, 0, result.err);
      }
    });
  },
);

testWithShared(
  "what cannot be converted or written is told in one line, and leaves nothing behind",
  async (t) => {
    await inFolder(async (folder) => {
      const path = `${folder}/model.gguf`, there = `${folder}/there`;
      const empty = `${folder}/empty`;
      await Deno.mkdir(empty);
      await Deno.writeTextFile(there, "mine");
      const output = ["-o", path];
      const wrong: [string[], number, RegExp][] = [
        [output, 2, /missing required argument 'source'/],
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
          const { code, out, err } = await culm("convert", ...args);
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

Deno.test({
  name: "Ctrl-C removes the part that was written",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await inFolder(async (folder) => {
      const source = `${folder}/source.gguf`, path = `${folder}/model.gguf`;
      const made = await culm(
        ...["synth", "-o", source, "--shape", "small", "--type", "f16"],
      );
      assert.equal(made.code, 0);
      const args = ["convert", source, "-o", path, "--type", "q4_k_m"];
      const child = startCli(args, { permissions });
      await child.stdin.close();
      const output = child.output();
      const isWriting = () =>
        Deno.stat(`${path}.part`).then(({ size }) => size > 0, () => false);
      while (!await isWriting()) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      child.kill("SIGINT");
      const { code, stderr } = await output;
      assert.equal(new TextDecoder().decode(stderr), "interrupted\n");
      assert.equal(code, 130);
      assert.deepEqual(await namesIn(folder), ["source.gguf"]);
    });
  },
});
