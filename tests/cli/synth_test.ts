import assert from "node:assert/strict";
import { stopped } from "./interrupted.ts";
import { runCli, runHere } from "./run_cli.ts";
import { inFolder, namesIn } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];
const tiny = ["--shape", "tiny", "--block-count", "1", "--vocab-size", "512"];

Deno.test("a file is written that the other commands read, in both forms", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/model.gguf`;
    const args = ["synth", "-o", path, ...tiny];
    const predictor = ["--predictor-rank", "96", "--type", "q8_0"];
    const { code, out, err } = await runCli([...args, ...predictor], {
      permissions,
    });
    assert.deepEqual([code, out], [0, ""]);
    assert.match(err, /^wrote .*model\.gguf: [\d.]+ MiB in [\d.]+ s\n$/);
    const inspect = ["inspect", "-m", path];
    assert.match(
      (await runCli(inspect, { permissions })).out,
      /architecture +bamboo, drelu, with predictors\n.*1 layers, hidden 256, FFN 1024.*vocabulary 512/,
    );
    const bench = ["bench", "-m", path, "-p", "0", "-n", "4", "-r", "1"];
    assert.equal((await runCli(bench, { permissions })).code, 0);

    const llama = [...args, "--form", "llama", "--force"];
    assert.equal((await runCli(llama, { permissions })).code, 0);
    assert.match(
      (await runCli(inspect, { permissions })).out,
      /architecture +llama, swiglu\n/,
    );
    const generate = ["generate", "-m", path, "-p", "a", "-n", "4"];
    assert.equal((await runCli(generate, { permissions })).code, 0);
  });
});

Deno.test("a Hugging Face folder is written that converts and runs", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/model`, file = `${folder}/model.gguf`;
    const form = ["--form", "huggingface", "--type"];
    const args = ["synth", "-o", path, ...tiny, ...form];
    const { code, err } = await runCli([...args, "bf16"], { permissions });
    assert.equal(code, 0, err);
    assert.deepEqual(await namesIn(path), [
      "config.json",
      "model-00001-of-00001.safetensors",
      "model.safetensors.index.json",
      "tokenizer.json",
    ]);
    const convert = ["convert", path, "-o", file, "--type", "q4_k_m"];
    assert.equal((await runCli(convert, { permissions })).code, 0);
    for (const model of [path, file]) {
      const generate = ["generate", "-m", model, "-p", "a", "-n", "4"];
      assert.equal((await runCli(generate, { permissions })).code, 0);
    }
    const again = await runCli([...args, "bf16"], { permissions });
    assert.match(again.err, /it is there already; --force replaces it\n$/);
    const quantised = await runCli([...args, "q4_0"], { permissions });
    assert.match(quantised.err, /of Q4_0: it holds F32, F16 and BF16\n$/);
  });
});

Deno.test("a file that is there is kept without --force", async () => {
  await inFolder(async (folder) => {
    const path = `${folder}/model.gguf`;
    await Deno.writeTextFile(path, "mine");
    const { code, err } = await runCli(["synth", "-o", path, ...tiny], {
      permissions,
    });
    assert.equal(code, 1);
    assert.match(
      err,
      /^error: Cannot write .*: it is there already; --force replaces it\n$/,
    );
    assert.equal(await Deno.readTextFile(path), "mine");
    assert.deepEqual(await namesIn(folder), ["model.gguf"]);
  });
});

Deno.test("what cannot be made or written is reported in one line, and leaves nothing behind", async (t) => {
  await inFolder(async (folder) => {
    const path = `${folder}/model.gguf`;
    const wrong: [string[], number, RegExp][] = [
      [[], 2, /required option '-o, --output <path>'/],
      [["-o", path, "--type", "q9"], 2, /one of f32, f16/],
      [["-o", path, "--shape", "huge"], 2, /one of tiny, small, bamboo-7b/],
      [["-o", path, "--active", "2"], 2, /number from 0 to 1/],
      [
        ["-o", path, "--head-count", "7"],
        1,
        /hiddenSize 256: .*multiple of 14/,
      ],
      [["-o", path, "--active", "0.5"], 1, /0\.39 of the gates/],
      [["-o", `${folder}/none/model.gguf`], 1, /there is no such folder/],
      [["-o", folder, "--force"], 1, /Cannot write .*director/],
    ];
    for (const [args, expected, message] of wrong) {
      await t.step(args.join(" ").replaceAll(folder, ""), async () => {
        const { code, out, err } = await runHere(["synth", ...tiny, ...args]);
        assert.match(err, message);
        assert.match(err, /^error: [^\n]+\n$/, "one line");
        assert.deepEqual([code, out], [expected, ""]);
      });
    }
    assert.deepEqual(await namesIn(folder), []);
  });
});

Deno.test({
  name: "Ctrl-C removes the part that was written",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await inFolder(async (folder) => {
      const path = `${folder}/model.gguf`;
      const { code, err } = await stopped(["synth", "-o", path], {
        permissions,
        when: `${path}.part`,
      });
      assert.equal(err, "interrupted\n");
      assert.equal(code, 130);
      assert.deepEqual(await namesIn(folder), []);
    });
  },
});
