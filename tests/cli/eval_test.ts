import assert from "node:assert/strict";
import { type CliResult, runCli, runHere, startCli } from "./run_cli.ts";
import { writeBambooTasks } from "../helpers/bamboo_tasks.ts";
import { namesIn, type TempFolder, tinyFolder } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];

function evaluate(...args: string[]): Promise<CliResult> {
  return runHere(["eval", "-t", "1", ...args]);
}

/** A folder with tiny-bamboo and some tasks in it, away when the test ends. */
async function folder(questions = 6): Promise<TempFolder> {
  const dir = await tinyFolder();
  const lines = (record: (i: number) => unknown, count = 6) =>
    Array.from({ length: count }, (_, i) => JSON.stringify(record(i)))
      .join("\n");
  await Deno.writeTextFile(
    `${dir.path}/piqa.jsonl`,
    lines((i) => ({
      query: `Question: How did Tom play on day ${i}?\n`,
      choices: ["He had a ball.", "zq zq zq zq zq zq zq zq"],
      gold: 0,
    })),
  );
  await Deno.writeTextFile(
    `${dir.path}/lambada_openai.jsonl`,
    lines((i) => ({
      context: `Tom had ${i} balls. Lily had a ball. They went to the`,
      continuation: "park",
    }), questions),
  );
  return dir;
}

Deno.test("a column for each model and mode, as table, data and single questions", async () => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  await Deno.copyFile(at("tiny.gguf"), at("other.gguf"));
  const args = ["-m", at("tiny.gguf"), "-m", at("other.gguf")];
  args.push("--data", dir.path, "--tasks", "piqa,lambada_openai");
  args.push("--sparsity", "dense", "--sparsity", "top-k=0.001", "--limit", "5");
  const { code, out, err } = await evaluate(
    ...args,
    "--samples",
    at("samples"),
  );
  assert.equal(code, 0, err);
  const lines = out.trimEnd().split("\n").map((line) =>
    line.split("|").map((cell) => cell.trim()).slice(1, -1)
  );
  assert.deepEqual(lines[0], [
    "task",
    "metric",
    "questions",
    "tiny.gguf dense",
    "tiny.gguf top-k=0.001",
    "other.gguf dense",
    "other.gguf top-k=0.001",
  ]);
  assert.deepEqual(lines.slice(2).map((line) => line.slice(0, 3)), [
    ["piqa", "acc", "5"],
    ["piqa", "acc_norm", "5"],
    ["lambada_openai", "perplexity", "5"],
    ["lambada_openai", "acc", "5"],
  ]);
  assert.equal(lines[2][3], "1.0000 ± 0.0000");
  for (const line of lines.slice(2)) {
    assert.deepEqual(line.slice(5), line.slice(3, 5), "the same model");
  }
  assert.notEqual(
    lines[4][3],
    lines[4][4],
    "two neurons of a layer are too few",
  );

  const samples = (await Deno.readTextFile(at("samples"))).trimEnd()
    .split("\n").map((line) => JSON.parse(line));
  assert.equal(samples.length, 4 * 2 * 5);
  assert.deepEqual(samples[0].scores, { acc: 1, acc_norm: 1 });
  assert.equal(samples[0].logprobs.length, 2);
  const json = JSON.parse((await evaluate(...args, "--json")).out);
  assert.equal(json.length, 4);
  const { metric, value, count } = json[1].tasks[1].metrics[0];
  assert.deepEqual([metric, count], ["perplexity", 5]);
  assert.equal(lines[4][4].split(" ")[0], value.toFixed(4));
  assert.ok(!(await namesIn(dir.path)).some((name) => name.endsWith(".eval")));
});

Deno.test("Bamboo's benchmarks are its page's table, beside the published figures", async () => {
  await using dir = await tinyFolder();
  await writeBambooTasks(dir.path);
  const args = ["--data", dir.path, "--bamboo", "-c", "64"];
  const { code, out, err } = await runCli(["eval", "-t", "1", ...args], {
    permissions: [...permissions, "--allow-run"],
  });
  assert.equal(code, 0, err);
  const rows = out.trimEnd().split("\n").map((line) =>
    line.split("|").map((cell) => cell.trim()).slice(1, -1)
  );
  const [headings, , ...benchmarks] = rows;
  assert.deepEqual(headings, [
    "benchmark",
    "questions",
    "Bamboo-7B, published",
    "Mistral-7B, published",
    "tiny-bamboo",
  ]);
  assert.deepEqual(benchmarks.map((row) => row.slice(0, 4)), [
    ["MMLU", "1", "63.89", "62.65"],
    ["Winogrande", "1", "76.16", "79.24"],
    ["TruthfulQA", "1", "44.06", "42.62"],
    ["Hellaswag", "1", "82.17", "83.32"],
    ["GSM8K", "1", "52.84", "40.18"],
    ["Arc-C", "1", "62.20", "61.43"],
    ["HumanEval", "1", "25.60", "26.21"],
    ["BBH", "27", "50.35", "56.35"],
    ["Average", "", "57.16", "56.50"],
  ]);
  const ours = benchmarks.map((row) => Number(row[4]));
  assert.deepEqual([ours[1], ours[3], ours[5], ours[6]], [100, 100, 100, 100]);
  const mean = ours.slice(0, 8).reduce((sum, value) => sum + value, 0) / 8;
  assert.ok(Math.abs(ours[8] - mean) < 0.01, `${ours}`);
});

Deno.test("the embedded model is asked with no permission but to read the questions", async () => {
  await using dir = await folder();
  const args = ["eval", "-t", "1", "--data", dir.path, "--tasks", "piqa"];
  const { code, out, err } = await runCli([...args, "--num-fewshot", "5"], {
    permissions: [`--allow-read=${dir.path}`],
  });
  assert.equal(code, 0, err);
  assert.match(out, /^\| piqa +\| acc +\| +1 \| +1\.0000 ± \? \|$/m);
});

Deno.test({
  name: "Ctrl-C keeps the outcomes, and the same command goes on",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await folder(400);
    const state = `${dir.path}/state`;
    const args = ["-m", `${dir.path}/tiny.gguf`, "--data", dir.path];
    args.push("--tasks", "piqa,lambada_openai", "--state", state);
    const child = startCli(["eval", "-t", "1", ...args], { permissions });
    await child.stdin.close();
    const reader = child.stderr.pipeThrough(new TextDecoderStream())
      .getReader();
    let err = "";
    while (!err.includes("tiny.gguf, piqa: acc 1.0000 ±")) {
      const { value, done } = await reader.read();
      assert.ok(!done, err);
      err += value;
    }
    child.kill("SIGINT");
    for (let done = false, value; !done;) {
      ({ value = "", done } = await reader.read());
      err += value;
    }
    await child.stdout.cancel();
    assert.equal((await child.status).code, 130, err);
    assert.match(err, /kept \d+ of 406 questions in .*; the same command/);

    const other = await evaluate(...args, "--limit", "3");
    assert.equal(other.code, 1);
    assert.match(other.err, /^error: .*is of another unfinished eval/m);
    const resumed = await evaluate(...args);
    assert.match(resumed.err, /^going on after \d+ of 406 questions$/m);
    await assert.rejects(Deno.stat(state), Deno.errors.NotFound);
    assert.equal(resumed.out, (await evaluate(...args)).out);
  },
});

Deno.test("bad input is reported in one line", async (t) => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  await Deno.mkdir(at("bad"));
  await Deno.writeTextFile(at("bad/piqa.jsonl"), '{"query":"a"}\n');
  await Deno.writeTextFile(at("bad/mmlu.jsonl.xz"), "none");
  await Deno.writeTextFile(at("bad/truthfulqa_mc.json"), "[{}]");
  await Deno.writeTextFile(at("bad/humaneval.jsonl"), "\n");
  const data = ["--data", dir.path];
  const wrong: [string[], number, RegExp][] = [
    [[], 2, /give --data FOLDER/],
    [[...data, "--tasks", "squad"], 2, /squad: the tasks are arc_easy,/],
    [[...data, "--bamboo", "--k", "2"], 2, /with --bamboo: they are its/],
    [[...data, "--k", "2,0"], 2, /"0" in --k: it needs whole numbers from 1/],
    [
      [...data, "--tasks", "humaneval", "--k", "9", "--n-samples", "8"],
      1,
      /pass@9 from 8 texts/,
    ],
    [[...data, "--tasks", "mmlu"], 1, /no mmlu\.jsonl or mmlu\.jsonl\.xz in /],
    [
      ["--data", at("bad"), "--tasks", "mmlu"],
      1,
      /bad\/mmlu\.jsonl\.xz: it is no whole \.xz file/,
    ],
    [
      ["--data", at("bad"), "--tasks", "truthfulqa_mc1"],
      1,
      /bad\/truthfulqa_mc\.json, question 1: "mc1_targets" is missing/,
    ],
    [
      ["--data", at("bad"), "--tasks", "humaneval"],
      1,
      /humaneval: there are no questions/,
    ],
    [[...data, "--tasks", "arc_easy"], 1, /no arc_easy\.jsonl in /],
    [[...data, "--sparsity", "few"], 2, /sparsity "few"/],
    [[...data, "--limit", "0"], 2, /whole number from 1/],
    [
      ["--data", at("bad"), "--tasks", "piqa"],
      1,
      /bad\/piqa\.jsonl, line 1: "choices" is missing/,
    ],
    [
      [...data, "--tasks", "piqa", "--num-fewshot", "6"],
      1,
      /6 items are shown as examples, and there are 6/,
    ],
    [
      [...data, "--tasks", "piqa", "--samples", at("piqa.jsonl")],
      1,
      /there already; --force/,
    ],
    [
      [...data, "--tasks", "piqa", "-m", at("none")],
      1,
      /none: there is no such/,
    ],
  ];
  for (const [args, code, message] of wrong) {
    await t.step(args.join(" "), async () => {
      const result = await runHere(["eval", "-t", "1", ...args]);
      assert.deepEqual([result.code, result.out], [code, ""], result.err);
      assert.match(result.err, /^error: [^\n]+\n$/);
      assert.match(result.err, message);
    });
  }
});
