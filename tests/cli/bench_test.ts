import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { benchTokens } from "../../cli/bench_runs.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { runCli } from "./run_cli.ts";

const small = ["bench", "-p", "8,16", "-n", "4", "-r", "2", "-t", "1"];

Deno.test("the table has llama-bench's columns, and the sparsity that was reached", async () => {
  const { code, out, err } = await runCli(small);
  assert.equal(code, 0);
  const [header, rule, ...rows] = out.trimEnd().split("\n").map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  assert.deepEqual(header, [
    "model",
    "size",
    "params",
    "backend",
    "threads",
    "sparsity",
    "rows skipped",
    "test",
    "t/s",
  ]);
  assert.ok(rule.every((cell) => /^-+:?$/.test(cell)));
  assert.deepEqual(rows.map((row) => row[7]), ["pp8", "pp16", "tg4"]);
  for (const row of rows) assert.match(row[8], /^[\d.]+ ± [\d.]+$/);
  assert.ok(
    parseFloat(rows[2][6]) > 1,
    "neurons are skipped one token at a time",
  );
  assert.match(err, /tg4: run 2 of 2: [\d.]+ t\/s/);

  const dense = await runCli([...small, "--sparsity", "dense"]);
  assert.doesNotMatch(dense.out, /sparsity/);
});

Deno.test("JSON, JSON lines and CSV say the same", async () => {
  const [json, lines, csv] = await Promise.all(
    ["json", "jsonl", "csv"].map(async (form) =>
      (await runCli([...small, "-o", form])).out
    ),
  );
  const rows = JSON.parse(json);
  assert.deepEqual(
    rows.map((row: Record<string, unknown>) => [row.n_prompt, row.n_gen]),
    [[8, 0], [16, 0], [0, 4]],
  );
  const [row] = rows;
  assert.equal(row.n_threads, 1);
  assert.equal(row.samples_ns.length, 2);
  const speeds = row.samples_ns.map((ns: number) => 8e9 / ns);
  assert.ok(Math.abs(row.avg_ts / ((speeds[0] + speeds[1]) / 2) - 1) < 1e-6);
  assert.ok(
    Math.abs(row.stddev_ts - Math.abs(speeds[0] - speeds[1]) / Math.SQRT2) <
      1e-3,
  );
  const first = lines.split("\n").map((line) => line && JSON.parse(line))[0];
  assert.deepEqual(Object.keys(first), Object.keys(row));
  const [header, ...records] = csv.trimEnd().split("\n");
  assert.equal(records.length, 3);
  assert.ok(header.startsWith("model_filename,model_type,model_size"));
});

Deno.test("the tokens are natural text of the length asked for", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  for (const count of [1, 17, 1000]) {
    const ids = benchTokens(model, count);
    assert.equal(ids.length, count);
    assert.equal(ids[0], model.tokenizer.bos);
  }
  assert.match(
    model.detokenize(benchTokens(model, 17)),
    /^The path to the river/,
  );
});
