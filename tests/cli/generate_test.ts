import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { runCli, runHere, startCli } from "./run_cli.ts";

/** What the library gives for the same request. */
async function generated(prompt: string, options: object): Promise<string> {
  await using model = await load(tinyBamboo());
  let text = "";
  for await (const piece of model.generate(prompt, options)) text += piece.text;
  return text;
}

Deno.test("the text alone goes to standard output, the rest to standard error", async () => {
  const text = await generated("Tom had a red ball.", {
    temperature: 0,
    maxTokens: 12,
  });
  assert.notEqual(text, "");
  const args = [
    "generate",
    "-p",
    "Tom had a red ball.",
    "--temp",
    "0",
    "-n",
    "12",
    "-s",
    "5",
  ];
  const { code, out, err } = await runCli(args);
  assert.deepEqual([code, out], [0, `Tom had a red ball.${text}\n`]);
  assert.match(err, /^backend: WASM/m);
  assert.match(err, /^seed: 5$/m);
  assert.match(err, /^ +load time = +[\d.]+ ms$/m);
  assert.match(
    err,
    /^ +prompt eval time = +[\d.]+ ms \/ +\d+ tokens \( +[\d.]+ ms per token, +[\d.]+ tokens per second\)$/m,
  );
  assert.match(err, /^ +eval time = +[\d.]+ ms \/ +11 runs /m);
  assert.match(err, /FFN rows skipped = +[\d.]+ %/);
  assert.doesNotMatch(
    err,
    /\p{Cc}\[K|loading/u,
    "no progress bar where standard error is no terminal",
  );

  const alone = await runHere([...args, "--no-display-prompt"]);
  assert.equal(alone.out, `${text}\n`);
});

Deno.test("the same seed gives the same text, and a random seed is printed", async () => {
  const first = await runHere(["generate", "-n", "20"]);
  const seed = first.err.match(/^seed: (\d+)$/m)![1];
  assert.match(first.out, /^Once upon a time/);
  assert.equal(
    (await runHere(["generate", "-n", "20", "-s", seed])).out,
    first.out,
  );
});

Deno.test("the prompt comes from a file or standard input, without its last line feed", async () => {
  const expected = await generated("Anna\nwent", {
    temperature: 0,
    maxTokens: 3,
  });
  const args = ["generate", "--temp", "0", "-n", "3"];
  const given = await runHere([...args, "-p", "Anna\\nwent"]);
  assert.equal(given.out, `Anna\nwent${expected}\n`);
  assert.equal(
    (await runHere([...args, "-f", "-"], { input: "Anna\nwent\n" })).out,
    given.out,
  );
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, "Anna\nwent\r\n");
    const read = await runHere([...args, "-f", path]);
    assert.equal(read.out, given.out);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a stop string ends the text, and log-probabilities go to standard error", async () => {
  const text = await generated("Tom", { temperature: 0, maxTokens: 40 });
  const stop = text.slice(8, 12);
  const { out, err } = await runHere([
    "generate",
    "-p",
    "Tom",
    "--temp",
    "0",
    "-r",
    stop,
    "--logprobs",
    "2",
  ]);
  assert.equal(out, `Tom${text.slice(0, text.indexOf(stop))}\n`);
  assert.match(
    err,
    /^\d+ '▁?\w+' -\d\.\d{4} \| \d+ '▁?\w+' -\d\.\d{4}, \d+ '/m,
  );
});

Deno.test("--logprobs 0 prints a token's own alone", async () => {
  const args = ["generate", "-p", "Tom", "-n", "3", "--logprobs", "0"];
  const { err } = await runHere(args);
  const lines = err.match(/^\d+ '[^']*' -?\d+\.\d{4}$/gm);
  assert.equal(lines?.length, 3, err);
});

Deno.test({
  name: "Ctrl-C stops cleanly, with timings and exit code 130",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const child = startCli(["generate", "-c", "100000", "--ignore-eos"]);
    await child.stdin.close();
    const reader = child.stdout.getReader();
    let shown = 0;
    while (shown < 40) shown += (await reader.read()).value?.length ?? Infinity;
    child.kill("SIGINT");
    while (!(await reader.read()).done);
    const err = await new Response(child.stderr).text();
    assert.equal((await child.status).code, 130);
    assert.match(err, /eval time = .* runs/);
    assert.doesNotMatch(err, /error/i);
  },
});

Deno.test("an empty prompt begins with BOS alone, and special tokens of a prompt are some", async () => {
  const tokens = async (prompt: string) => {
    const args = ["generate", "-p", prompt, "-n", "1", "--temp", "0"];
    const { code, err } = await runHere(args);
    assert.equal(code, 0, err);
    return Number(/prompt eval time = .* (\d+) tokens/.exec(err)![1]);
  };
  assert.equal(await tokens(""), 1);
  assert.equal(
    await tokens("a</s>a"),
    await tokens("a") + 1 + await tokens("a") - 1,
  );
});

Deno.test("a draft model changes nothing of the text, and one of another vocabulary is refused", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const [equal, other] = ["equal", "other"].map((n) => `${folder}/${n}.gguf`);
    const tiny = tinyBamboo();
    await Deno.writeFile(equal, await tiny.read(0, tiny.size));
    const synth = ["synth", "-o", other, "--shape", "tiny"];
    assert.equal((await runHere(synth)).code, 0);
    const args = ["generate", "-p", "Tom had", "-n", "30", "-s", "7"];
    const plain = await runHere([...args, "--spec-type", "none"]);
    const drafted = await runHere([...args, "-md", equal]);
    assert.deepEqual([drafted.code, drafted.out], [0, plain.out]);
    assert.match(drafted.err, /^draft model: bamboo .*, from .*equal\.gguf$/m);
    const chat = (...flags: string[]) =>
      runHere(["chat", "-n", "8", "--temp", "0", ...flags], {
        input: "Hello\n",
      });
    const answer = await chat("--model-draft", equal);
    assert.deepEqual(
      [answer.code, answer.out],
      [0, (await chat("--spec-type", "none")).out],
    );
    const refused = await runHere([...args, "-md", other]);
    assert.equal(refused.code, 1);
    assert.equal(refused.out, "");
    assert.match(
      refused.err,
      /^error: Cannot draft with a model of 1024 tokens for one of 4096: .*$/m,
    );
    const missing = await runHere([...args, "--spec-type", "draft-simple"]);
    assert.match(
      missing.err,
      /^error: .* draft-simple without a draft model: name one with -md$/m,
    );
    assert.equal(missing.code, 2);
    assert.equal(missing.out, "");
    // By the headers alone: nothing was loaded.
    assert.match(refused.err, /^error: [^\n]+\n$/);
    const silent = await runHere(["chat", "-md", other]);
    assert.match(silent.err, /^error: Cannot draft with a model of 1024/m);
    assert.equal(silent.code, 1);
    for (const type of ["none", "ngram-simple"]) {
      const spared = ["-md", other, "--spec-type", type];
      const run = await runHere([...args, ...spared]);
      assert.deepEqual([run.code, run.out], [0, plain.out]);
      assert.match(run.err, /^note: -md changes nothing: --spec-type /m);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
