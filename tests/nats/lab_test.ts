import assert from "node:assert/strict";
import { runHere } from "../cli/run_cli.ts";
import { tempFolder } from "../cli/temp_folder.ts";
import { story } from "../helpers/fixtures.ts";
import { hasNats, NatsServer } from "../helpers/nats.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { Worker } from "./chaos.ts";

testNeeding(needs.nats, hasNats && Deno.build.os !== "windows", {
  name:
    "workers of a queue measure the perplexity that one machine measures, to the last bit",
  fn: async () => {
    await using folder = await tempFolder();
    await using server = await NatsServer.start();
    const file = `${folder.path}/text.txt`;
    await Deno.writeTextFile(file, story().repeat(8));
    const measure = ["perplexity", "-f", file, "-c", "64", "--json"];
    const args = ["--queue", server.url, "-c", "64"];
    const workers = [1, 2].map(() => new Worker(folder.path, args));
    const one = await runHere([...measure, "-t", "0"]);
    const several = await runHere([...measure, "--queue", server.url]);
    assert.equal(several.code, 0, several.err);
    assert.match(several.err, /chunks as batch_\w+, for culm worker -c 64/);
    assert.equal(several.out, one.out);
    await Promise.all(workers.map((worker) => worker.stop()));

    const refused = await runHere([...measure, ...args, "--keep", "1,0.5"]);
    assert.match(refused.err, /^error: Cannot take --keep with --queue.*\n$/);
  },
});

testNeeding(needs.nats, hasNats && Deno.build.os !== "windows", {
  name:
    "workers of a queue evaluate what one machine evaluates, to the last bit",
  fn: async () => {
    await using folder = await tempFolder();
    await using server = await NatsServer.start();
    const write = (name: string, records: unknown[]) =>
      Deno.writeTextFile(
        `${folder.path}/${name}.jsonl`,
        records.map((record) => JSON.stringify(record)).join("\n"),
      );
    const days = Array.from({ length: 20 }, (_, i) => i);
    await write(
      "piqa",
      days.map((day) => ({
        query: `Question: How did Tom play on day ${day}?\n`,
        choices: ["He had a ball.", "He went to the park with Lily."],
        gold: day % 2,
      })),
    );
    await write(
      "lambada_openai",
      days.map((day) => ({
        context: `Tom had ${day} balls. Lily had a ball. They went to the`,
        continuation: "park",
      })),
    );
    await write(
      "gsm8k",
      days.map((day) => ({
        context: `Tom had ${day} balls. How many?`,
        chain_of_thought: "He had them all.",
        answer: `${day}`,
      })),
    );
    const tasks = ["--tasks", "piqa,lambada_openai,gsm8k", "--num-fewshot=1"];
    const evaluate = ["eval", "--data", folder.path, ...tasks, "--json"];
    const args = ["--queue", server.url];
    const workers = [1, 2].map(() => new Worker(folder.path, args));
    const one = await runHere([...evaluate, "-t", "0"]);
    const several = await runHere([...evaluate, ...args]);
    assert.equal(several.code, 0, several.err);
    await Promise.all(workers.map((worker) => worker.stop()));
    assert.equal(several.out, one.out);
    const told = (text: string) => text.match(/^tiny-bamboo, .*$/gm);
    assert.equal(told(several.err)?.length, 3, several.err);
    assert.deepEqual(told(several.err), told(one.err));
  },
});
