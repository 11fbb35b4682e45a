import assert from "node:assert/strict";
import { testWithAdapter } from "../helpers/adapter.ts";
import { runCli, runHere } from "./run_cli.ts";

testWithAdapter(
  "a run says which GPU takes part, and tells the same story",
  async () => {
    const args = ["generate", "-p", "Tom had", "-n", "12", "--temp", "0"];
    const cpu = await runHere([...args, "--gpu", "off"]);
    const gpu = await runCli(
      [...args, "-c", "64", "--gpu", "require", "-ngl", "3"],
    );
    assert.equal(gpu.code, 0, gpu.err);
    assert.equal(gpu.out, cpu.out);
    assert.match(gpu.err, /^backend: WASM .* \+ WebGPU; /m);
    assert.match(
      gpu.err,
      /^gpu: .*, synchronous read-back; [\d.]+ MiB, a read-back takes [\d.]+ ms$/m,
    );
    assert.doesNotMatch(cpu.err, /gpu:/);
  },
);

testWithAdapter("bench prints what the GPU was asked to do", async () => {
  const { code, out, err } = await runCli(
    [
      "bench",
      "-p",
      "0",
      "-n",
      "4",
      "-r",
      "1",
      "--gpu",
      "require",
      "-o",
      "json",
    ],
  );
  assert.equal(code, 0, err);
  assert.match(
    err,
    /tg4: gpu, a token: \d+ dispatches, 1 submits, 1 read-backs, .* up, .* down/,
  );
  const [row] = JSON.parse(out);
  assert.deepEqual([row.gpu_submits, row.gpu_read_backs], [1, 1]);
});

Deno.test("GPU options that make no sense are refused in one line", async () => {
  const refused: [string[], RegExp][] = [
    [["--gpu", "maybe"], /--gpu .*off, auto/],
    [["--vram-budget", "much"], /--vram-budget/],
    [["-ngl", "-1"], /-ngl/],
    [
      ["-c", "64", "--gpu", "require", "--vram-budget", "0.00001"],
      /Cannot use/,
    ],
  ];
  for (const [flags, message] of refused) {
    const { code, err, out } = await runHere(["generate", "-n", "1", ...flags]);
    assert.notEqual(code, 0);
    assert.equal(out, "");
    const lines = err.trim().split("\n");
    assert.equal(lines.length, 1, err);
    assert.match(lines[0], message);
  }
});
