/** A past that outlasts a run: `--prompt-cache`. */
import assert from "node:assert/strict";
import { type CliResult, runCli, runHere } from "./run_cli.ts";
import { inFolder, namesIn } from "./temp_folder.ts";

const prompt =
  "Once upon a time there was a little girl named Lily, who had a red ball and a blue kite. One day she went to the park with her mom.";

const greedy = ["--temp", "0", "-n", "12", "--gpu", "off"];

function generate(
  args: readonly string[],
  text = prompt,
): Promise<CliResult> {
  const given = text === "" ? [] : ["-p", text];
  return runHere(["generate", ...given, ...greedy, ...args]);
}

/** How many tokens of the prompt were in the file. */
function cached({ err }: CliResult): [cached: number, prompt: number] {
  const found = err.match(/^prompt cache: (\d+) of the prompt's (\d+) tokens/m);
  assert(found, err);
  return [Number(found[1]), Number(found[2])];
}

Deno.test("--prompt-cache: the second run evaluates one token of the prompt and writes the same text", async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/past`;
    const without = await generate([]);
    const args = ["--prompt-cache", file];
    // With no permission but for the file.
    const files = `${file},${file}.part`;
    const first = await runCli(
      ["generate", "-p", prompt, ...greedy, ...args],
      { permissions: [`--allow-read=${files}`, `--allow-write=${files}`] },
    );
    assert.equal(first.code, 0, first.err);
    assert.match(first.err, /^prompt cache: \S+past is not there yet$/m);
    assert.equal(first.out, without.out);
    const [none, length] = cached(first);
    assert.equal(none, 0);
    assert.match(
      first.err,
      RegExp(`^prompt cache: ${length} tokens kept in`, "m"),
    );
    assert.deepEqual(await namesIn(folder), ["past"]);
    const bytes = await Deno.readFile(file);

    const second = await generate([...args, "-t", "1"]);
    assert.equal(second.out, without.out);
    assert.deepEqual(cached(second), [length - 1, length]);
    assert.doesNotMatch(second.err, /tokens kept/);

    // A longer prompt, with -ro: what is common is taken over, the file stays.
    const longer = `${prompt} They`;
    const third = await generate([...args, "--prompt-cache-ro"], longer);
    assert.equal(third.out, (await generate([], longer)).out);
    assert.equal(cached(third)[0], length);
    assert.deepEqual(await Deno.readFile(file), bytes);

    // And without it is kept.
    await generate(args, longer);
    const fourth = await generate(args, longer);
    assert.equal(fourth.out, third.out);
    assert.equal(cached(fourth)[0], cached(fourth)[1] - 1);
  });
});

Deno.test("--prompt-cache-all keeps what is generated, and goes on with it where no prompt is given", async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/past`;
    const args = ["--prompt-cache", file, "--prompt-cache-all"];
    const long = await generate(["-n", "24"]);
    const first = await generate(args);
    const second = await generate(args, "");
    assert.equal(second.code, 0, second.err);
    // The last token of the first run was never evaluated, and so never kept.
    const [, prompt] = cached(second);
    assert.equal(prompt, cached(first)[1] + 11);
    assert.equal(long.out.startsWith(second.out.trimEnd()), true, second.out);
    assert(second.out.length > first.out.length);
  });
});

Deno.test("--prompt-cache: what is no past, or another's, is refused in a line and stays", async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/mine.gguf`;
    const args = ["--prompt-cache", file];
    const refused = async (args: readonly string[], message: RegExp) => {
      const before = await Deno.readFile(file);
      const { code, err, out } = await generate(args);
      assert.equal(code, 1, err);
      assert.equal(out, "");
      assert.match(err.trimEnd().split("\n").at(-1)!, message);
      assert.deepEqual(await Deno.readFile(file), before);
      assert.deepEqual(await namesIn(folder), ["mine.gguf"]);
    };
    await Deno.writeTextFile(file, "GGUF, or a diary of mine");
    await refused(args, /^error: Cannot restore .*mine.gguf: it is not a past/);
    await Deno.writeTextFile(file, "");
    await refused(args, /^error: Cannot read .*mine.gguf: the file is empty/);
    await Deno.remove(file);
    assert.equal((await generate(args)).code, 0);
    await refused(
      [...args, "-ctk", "q8_0"],
      /^error: Cannot restore .*: it is of cache type f16, the model that is loaded of q8_0$/,
    );
    await refused(
      [...args, "-c", "20"],
      /^error: Cannot restore .*: it has \d+ tokens, the context 20$/,
    );
    await refused(
      [...args, "--sparsity", "top-k=0.5"],
      /^error: Cannot restore .*: it is of sparsity exact, the model that is loaded of top-k=0.5$/,
    );
    const bytes = await Deno.readFile(file);
    bytes[bytes.length >> 1] ^= 1;
    await Deno.writeFile(file, bytes);
    await refused(
      args,
      /^error: Cannot restore .*: bytes \d+\.\.\d+ have digest/,
    );

    // The file of another command that is writing it
    const part = await Deno.open(`${file}.part`, { write: true, create: true });
    part.lockSync(true);
    const { code, err } = await generate(args);
    part.close();
    assert.equal(code, 1);
    assert.match(
      err,
      /^error: Cannot write .*: another command is writing it$/m,
    );
  });
});

Deno.test("--prompt-cache-ro and -all want --prompt-cache, and a model is never replaced", async () => {
  await inFolder(async (folder) => {
    for (const flag of ["--prompt-cache-ro", "--prompt-cache-all"]) {
      const { code, err } = await generate([flag]);
      assert.equal(code, 2);
      assert.match(
        err,
        /^error: Cannot use --prompt-cache-\w+ without --prompt-cache/,
      );
    }
    const model = `${folder}/model.gguf`;
    await Deno.writeTextFile(model, "GGUF");
    const args = ["-m", model, "--prompt-cache", model];
    const { code, err } = await generate(args);
    assert.equal(code, 1);
    assert.match(
      err,
      /^error: Cannot write .*: this command reads .*, which is the same file$/m,
    );
  });
});

Deno.test("culm chat --prompt-cache: the next chat takes the system prompt over", async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/past`;
    const chat = (input: string, args: readonly string[]) =>
      runHere([
        "chat",
        "-sys",
        "You tell stories for children about animals, in short words.",
        "--temp",
        "0",
        "-n",
        "8",
        "--gpu",
        "off",
        ...args,
      ], { input });
    const args = ["--prompt-cache", file];
    const first = await chat("A dog.\n", args);
    assert.match(first.err, /^prompt cache: \d+ tokens kept in/m);
    const second = await chat("A cat.\n", args);
    assert.match(second.err, /^prompt cache: \S+ has \d+ tokens$/m);
    const without = await chat("A cat.\n", []);
    assert.equal(second.out, without.out);
    const evaluated = ({ err }: CliResult) =>
      Number(err.match(/prompt eval time = .*?\/ +(\d+) tokens/)![1]);
    assert(evaluated(second) < evaluated(without) / 2, second.err);
  });
});
