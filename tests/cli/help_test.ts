import assert from "node:assert/strict";
import { commands } from "../../cli/commands.ts";
import config from "../../deno.json" with { type: "json" };
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
      for (const { flags } of options) {
        assert.ok(out.includes(`  ${flags}`), flags);
      }
      assert.doesNotMatch(out, /default: (null|undefined)/);
      assert.match(out, new RegExp(`Examples:\n  culm ${name} `));
    });
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
