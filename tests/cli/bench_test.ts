import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { benchTokens } from "../../cli/commands/bench/runs.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { runCli, runHere } from "./run_cli.ts";

const small = ["bench", "-p", "8,16", "-n", "4", "-r", "2", "-t", "1"];

function cellsOf(table: string): string[][] {
  return table.trimEnd().split("\n").map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
}

Deno.test("the table has llama-bench's columns, and fits a terminal", async () => {
  const { code, out } = await runCli(small);
  assert.equal(code, 0);
  const [header, rule, ...rows] = cellsOf(out);
  assert.deepEqual(
    header,
    ["model", "size", "params", "backend", "threads", "test", "t/s"],
  );
  assert.ok(rule.every((cell) => /^-+:?$/.test(cell)));
  assert.deepEqual(rows.map((row) => row[5]), ["pp8", "pp16", "tg4"]);
  for (const row of rows) assert.match(row[6], /^[\d.]+ ± [\d.]+$/);
  for (const line of out.split("\n")) assert.ok(line.length <= 125);
});

Deno.test("with -v the table has the sparsity that was reached", async () => {
  // With a border that is not measured, so that it skips the same in each run.
  const { code, out, err } = await runHere([...small, "--hot", "0", "-v"]);
  assert.equal(code, 0);
  const [header, rule, ...rows] = cellsOf(out);
  assert.deepEqual(header, [
    "model",
    "size",
    "params",
    "backend",
    "threads",
    "KV",
    "sparsity",
    "rows skipped",
    "streamed",
    "picked",
    "of limit",
    "test",
    "t/s",
  ]);
  assert.ok(rule.every((cell) => /^-+:?$/.test(cell)));
  assert.deepEqual(rows.map((row) => row[11]), ["pp8", "pp16", "tg4"]);
  for (const row of rows) assert.match(row[12], /^[\d.]+ ± [\d.]+$/);
  for (const row of rows) assert.match(row[7], /^[\d.]+ %$/);
  for (const row of rows) assert.equal(row[5], "f16");
  assert.ok(
    parseFloat(rows[2][7]) > 1,
    "neurons are skipped one token at a time",
  );
  assert.match(err, /tg4: run 2 of 2: [\d.]+ t\/s/);

  const dense = await runHere([...small, "--sparsity", "dense", "-v"]);
  for (const row of cellsOf(dense.out).slice(2)) {
    assert.deepEqual(row.slice(6, 8), ["dense", "0.0 %"]);
  }
  assert.match(
    err,
    /type +tensors +in the file +kept as +taking\s+Q8_0 +44 +8\.1 MiB +I8 +8\.1 MiB/,
  );
});

Deno.test("the roofline is the counted bytes over the measured rates", async () => {
  const dense = ["--sparsity", "dense", "-o", "json"];
  const { out, err } = await runHere([...small, ...dense, "-v"]);
  const rows = JSON.parse(out);
  await using model = await load(tinyBamboo(), { threads: 0 });
  for (const row of rows) {
    const seconds = row.bytes_streamed / row.stream_rate +
      row.bytes_picked / row.pick_rate;
    assert(Math.abs(row.limit_ts * seconds - 1) < 1e-3);
    const ns = row.samples_ns.reduce((sum: number, ns: number) => sum + ns, 0);
    const speed = 2e9 * (row.n_prompt + row.n_gen) / ns;
    assert(Math.abs(row.of_limit * row.limit_ts / speed - 1) < 1e-3);
    assert(row.active > 0.01 && row.active < row.gate_positive);
    assert(row.gate_positive < 0.9);
  }
  // Token by token, a dense run reads every weight, and hardly anything else;
  // at once, it reads them once.
  const [pp8, pp16, tg4] = rows;
  assert.equal(tg4.bytes_picked, 0);
  const ratio = tg4.bytes_streamed / model.engine.weightBytes;
  assert(ratio > 0.85 && ratio < 1.1, `read ${ratio} of the weights`);
  assert(Math.abs(8 * pp8.bytes_streamed / tg4.bytes_streamed - 1) < 0.2);
  assert(Math.abs(2 * pp16.bytes_streamed / pp8.bytes_streamed - 1) < 0.2);
  assert.match(err, /^rates of Q8_0 rows of 256/m);
  assert.match(
    err,
    /^0 +[\d.]+ [KMG]iB\/s +[\d.]+ [KMG]iB\/s +(4|12) +i(16|32) +i(16|32)$/m,
  );
  assert.match(err, /^tg4, a token:\nlayer +hot +gate > 0 +active/m);
  assert.match(err, /^5 +0\.0 % +[\d.]+ % +[\d.]+ %/m);
});

Deno.test("-d measures behind other tokens, whose keys and values count", async () => {
  const flags = ["-p", "8", "-n", "2", "-r", "1", "-t", "1", "-d", "0,300,40"];
  const dense = ["--sparsity", "dense", "-o", "json", "-ctk", "f32"];
  const { code, out, err } = await runHere(["bench", ...flags, ...dense]);
  assert.equal(code, 0, err);
  const rows: Record<string, number | string>[] = JSON.parse(out);
  assert.deepEqual(
    rows.map(({ n_prompt, n_gen, n_depth }) => [n_prompt, n_gen, n_depth]),
    [0, 300, 40].flatMap((depth) => [[8, 0, depth], [0, 2, depth]]),
  );
  assert.match(err, /^tg2 @ d40: run 1 of 1/m);
  assert.equal(rows[0].type_k, "f32");
  // 6 layers with 4 KV heads of 32, key and value, 4 bytes each.
  const position = 6 * 4 * 32 * 2 * 4;
  const streamed = rows.map((row) => Number(row.bytes_streamed));
  assert.equal(streamed[3] - streamed[1], 300 * position);
  assert.equal(streamed[5] - streamed[1], 40 * position);
});

Deno.test("JSON, JSON lines and CSV say the same", async () => {
  const of = async (form: string) =>
    (await runHere([...small, "-o", form])).out;
  const json = await of("json"), lines = await of("jsonl");
  const csv = await of("csv");
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
