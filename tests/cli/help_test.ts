import assert from "node:assert/strict";
import { commands } from "../../cli/commands.ts";
import config from "../../deno.json" with { type: "json" };
import { namesOf } from "../../cli/option.ts";
import { runCli } from "./run_cli.ts";

Deno.test("the help lists the commands, with and without --help, on standard output", async () => {
  for (const args of [["--help"], ["-h"], [], ["help"]]) {
    const { code, out, err } = await runCli(args);
    assert.deepEqual([code, err], [0, ""], args.join(" "));
    for (const { name } of commands) {
      assert.match(out, new RegExp(`^  ${name} `, "m"));
    }
  }
});

Deno.test("each command's help names every flag, and ends with an example", async (t) => {
  for (const { name, options } of commands) {
    await t.step(name, async () => {
      const { code, out, err } = await runCli([name, "--help"]);
      assert.deepEqual([code, err], [0, ""]);
      for (const { flag } of Object.values(options).flatMap(Object.values)) {
        assert.ok(out.includes(`  ${flag}`), flag);
      }
      assert.doesNotMatch(out, /default: (null|undefined)/);
      assert.match(out, new RegExp(`Examples:\n  culm ${name} `));
    });
  }
});

Deno.test("the help of one command is asked for in three ways, and of none is a clear line", async () => {
  const { out } = await runCli(["convert", "--help"]);
  assert.match(out, /^Usage: culm convert <source> \[options\]\n/);
  for (const args of [["help", "convert"], ["convert", "-o", "a", "-h"]]) {
    assert.deepEqual(await runCli(args), { code: 0, out, err: "" });
  }
  assert.deepEqual(await runCli(["help", "convrt"]), {
    code: 2,
    out: "",
    err:
      "error: unknown command 'convrt'. Did you mean convert? culm --help lists them\n",
  });
  assert.equal(
    (await runCli(["help", "NOTHERE"])).err,
    "error: unknown command 'NOTHERE'. culm --help lists them\n",
  );
});

Deno.test("flags of one kind stand under one heading, and say their defaults in one way", () => {
  for (const { name, options } of commands) {
    for (const [heading, table] of Object.entries(options)) {
      for (const { flag, description } of Object.values(table)) {
        assert.doesNotMatch(description, /default/i, `${name} ${flag}`);
        const isThreads = namesOf(flag).includes("--threads");
        if (isThreads) assert.equal(heading, "Running", name);
      }
    }
  }
});

Deno.test("every flag has spellings of its own", () => {
  for (const { name, options } of commands) {
    const names = Object.values(options).flatMap(Object.values).flatMap(
      ({ flag, negative }) => [flag, negative?.flag ?? []].flat(),
    ).flatMap(namesOf);
    assert.deepEqual([...new Set(names)], names, name);
    for (const spelled of names) assert.match(spelled, /^--?[a-z]/);
  }
});

Deno.test("the version is the package's", async () => {
  assert.deepEqual(await runCli(["--version"]), {
    code: 0,
    out: `${config.version}\n`,
    err: "",
  });
});

Deno.test("a value that looks like a flag is a value", async () => {
  const { out } = await runCli([
    "tokenize",
    "-p",
    "-ctk",
    "--no-bos",
    "--show-count",
  ]);
  assert.match(out, /Total number of tokens/);
  assert.equal(
    [...out.matchAll(/-> '(.*)'/g)].map((match) => match[1]).join(""),
    " -ctk",
  );
});
