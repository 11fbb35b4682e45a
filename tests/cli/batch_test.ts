import assert from "node:assert/strict";
import { runHere, startCli } from "./run_cli.ts";
import { namesIn, type TempFolder, tempFolder } from "./temp_folder.ts";

/** A folder with requests in it, the last of them wrong where `wrong` says so. */
async function folder(count: number, wrong = false): Promise<TempFolder> {
  const dir = await tempFolder();
  const lines = Array.from({ length: count }, (_, i) =>
    JSON.stringify({
      custom_id: `request ${i}`,
      method: "POST",
      url: "/v1/completions",
      body: {
        prompt: `Tom had ${i} balls.`,
        max_tokens: wrong && i === count - 1 ? "many" : 24,
      },
    }));
  await Deno.writeTextFile(`${dir.path}/in.jsonl`, lines.join("\n"));
  return dir;
}

async function resultsIn(path: string) {
  const text = await Deno.readTextFile(path);
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("a file of requests is answered in its order; one that is refused fails the command", async () => {
  await using dir = await folder(5, true);
  const path = `${dir.path}/in.jsonl`, output = `${dir.path}/out.jsonl`;
  const { code, err } = await runHere(["batch", path, "-t", "0", "-o", output]);
  assert.equal(code, 1, err);
  assert.match(err, /5 requests: 4 answered, 1 refused/);
  const results = await resultsIn(output);
  assert.deepEqual(
    results.map(({ custom_id, response }) => [custom_id, response.status_code]),
    [0, 1, 2, 3, 4].map((i) => [`request ${i}`, i < 4 ? 200 : 400]),
  );
  assert.deepEqual(await namesIn(dir.path), ["in.jsonl", "out.jsonl"]);

  const again = await runHere(["batch", path, "-t", "0", "-o", output]);
  assert.equal(again.code, 1);
  assert.match(again.err, /out.jsonl: it is there already; --force replaces/);
  const printed = await runHere(["batch", path, "-t", "0", "--order", "done"]);
  const lines = printed.out.trimEnd().split("\n").sort();
  const written = (await Deno.readTextFile(output)).trimEnd().split("\n");
  assert.deepEqual(lines, written.sort());
});

Deno.test("requests that are no batch are refused by one line", async () => {
  await using dir = await folder(1);
  const path = `${dir.path}/in.jsonl`;
  await Deno.writeTextFile(path, '{"custom_id": "a"}');
  const { code, err } = await runHere(["batch", path]);
  assert.deepEqual([code, err], [
    1,
    'error: Cannot use line 1 of the batch: method undefined is not "POST"\n',
  ]);
});

Deno.test({
  name: "a batch that is interrupted or killed goes on, to the same bytes",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await folder(80);
    const path = `${dir.path}/in.jsonl`;
    const start = (output: string) =>
      startCli(["batch", path, "-t", "1", "-o", output], {
        permissions: [`--allow-read=${dir.path}`, `--allow-write=${dir.path}`],
      });
    const whole = `${dir.path}/whole.jsonl`, parts = `${dir.path}/parts.jsonl`;
    assert.equal((await start(whole).output()).code, 0);
    for (const signal of ["SIGINT", "SIGKILL"] as const) {
      const child = start(parts);
      await untilKept(`${parts}.batch`);
      child.kill(signal);
      const { code } = await child.output();
      assert.equal(code, signal === "SIGINT" ? 130 : 137);
    }
    const { code, stderr } = await start(parts).output();
    const err = new TextDecoder().decode(stderr);
    assert.equal(code, 0, err);
    assert.match(err, /going on after \d+ of 80 requests/);
    assert.equal(
      await Deno.readTextFile(parts),
      await Deno.readTextFile(whole),
    );
    assert.deepEqual(await namesIn(dir.path), [
      "in.jsonl",
      "parts.jsonl",
      "whole.jsonl",
    ]);
  },
});

/** Waits until a file is written anew. */
async function untilKept(path: string): Promise<void> {
  const timeOf = () => Deno.stat(path).then(({ mtime }) => +mtime!, () => 0);
  const before = await timeOf();
  while (await timeOf() === before) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
