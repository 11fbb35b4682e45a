import assert from "node:assert/strict";
import { runHere } from "./run_cli.ts";

const shape =
  "--shape tiny --feed-forward-length 64 --expert-count 8 --expert-used-count 2 --block-count 3 --vocab-size 512 --context-length 64";

Deno.test("within a memory budget a mixture of experts writes the same text; what stays and what is read is said", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const model = `${folder}/model.gguf`, text = `${folder}/text`;
    await Deno.writeTextFile(text, "Tom had a ball. ".repeat(60));
    const made = await runHere([
      ..."synth --activation reglu --type q8_0 -o".split(" "),
      model,
      ...shape.split(" "),
    ]);
    assert.equal(made.code, 0, made.err);
    const generate = (...flags: string[]) =>
      runHere([
        "generate",
        "-m",
        model,
        ..."-p Once -n 12 --temp 0 -t 1 -c 64 -b 16 --gpu off".split(" "),
        ...flags,
      ]);
    const plan = (...flags: string[]) =>
      runHere([
        ..."plan -c 64 -b 16 --machine rtx-4090 -m".split(" "),
        model,
        ...flags,
      ]);
    /** With some bytes more than what is said to be the least. */
    const budgetOf = async (run: typeof plan) => {
      const { code, err } = await run("--memory-budget", "0.000001");
      assert.notEqual(code, 0);
      const [, needed] = err.match(
        /^error: Cannot run the model in a memory budget of 1073 bytes: it needs (\d+) for [^\n]*\n$/m,
      )!;
      return ["--memory-budget", String((+needed + 250_000) / 2 ** 30)];
    };
    const budget = await budgetOf(generate);
    const [whole, part] = [await generate(), await generate(...budget)];
    assert.equal(part.code, 0, part.err);
    assert.equal(part.out, whole.out);
    assert.doesNotMatch(whole.err, /from the file/);
    assert.match(
      part.err,
      /memory: \d( to \d)? of 8 experts of each layer, those used last; others are read from the file, [\d.]+ KiB a token/,
    );
    assert.match(
      part.err,
      / read from the file = +[\d.]+ KiB in each run; [\d.]+ % of the experts were in memory/,
    );
    const { out } = await plan(...await budgetOf(plan));
    assert.match(out, /\nmemory +\d( to \d)? of 8 experts/);
    assert.match(out, /\nmachine +[^\n]*4090/);
    assert.match(out, /\nbudget +no GPU\n/);
    // All ways of a mode are open at once, and need more than one context.
    const measured = await runHere([
      ..."sparsity -c 32 --tokens 8 --decode-tokens 2 --json -t 0 -m".split(
        " ",
      ),
      model,
      ..."--memory-budget 1 -f".split(" "),
      text,
    ]);
    assert.equal(measured.code, 0, measured.err);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("within a memory budget a model without experts writes the same text, and says which neurons stay and what is read", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const model = `${folder}/model.gguf`;
    const shape =
      "--shape tiny --feed-forward-length 384 --block-count 3 --vocab-size 512 --context-length 64";
    const made = await runHere([
      ..."synth --activation drelu --type q8_0 -o".split(" "),
      model,
      ...shape.split(" "),
    ]);
    assert.equal(made.code, 0, made.err);
    const generate = (...flags: string[]) =>
      runHere([
        "generate",
        "-m",
        model,
        ..."-p Once -n 12 --temp 0 -t 1 -c 64 -b 16 --gpu off".split(" "),
        ...flags,
      ]);
    const refused = await generate("--memory-budget", "0.000001");
    assert.notEqual(refused.code, 0);
    const [, needed] = refused.err.match(
      /^error: Cannot run the model in a memory budget of 1073 bytes: it needs (\d+) for [^\n]* 64 of 384 neurons in each layer\n$/m,
    )!;
    const budget = String((+needed + 50_000) / 2 ** 30);
    const whole = await generate();
    const part = await generate("--memory-budget", budget);
    assert.equal(part.code, 0, part.err);
    assert.equal(part.out, whole.out);
    assert.match(
      part.err,
      /memory: \d+ of 384 neurons of each layer \(ffn_up, ffn_down_t\), those used last; others are read from the file when a mask asks for them/,
    );
    assert.match(
      part.err,
      / read from the file = +[\d.]+ KiB in each run; [\d.]+ % of the rows asked for were in memory/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
