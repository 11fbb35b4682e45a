import assert from "node:assert/strict";
import { PythonSandbox } from "../../../../src/lab/eval/python/sandbox.ts";
import { needs, testNeeding } from "../../../helpers/needs.ts";
import { fatal, refused, slow } from "./hostile.ts";

const limits = { timeLimit: 1500, memoryLimit: 128 * 2 ** 20 };

/** Runs programs, none of which may pass, nor harm the next one. */
async function fails(
  python: PythonSandbox,
  programs: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [name, program] of Object.entries(programs)) {
    assert.equal(await python.passes(program), false, name);
    const next = "assert len([1]) == 1\ntry: x\nexcept NameError: pass\n" +
      "else: raise ValueError";
    assert.equal(await python.passes(next), true, `behind ${name}`);
  }
}

Deno.test("programs run as in Python, and hostile ones fail and harm nothing", async () => {
  await using python = await PythonSandbox.start(limits);
  const good = "import math, re, hashlib, collections, datetime, typing\n" +
    "print('é', math.pi)\nassert re.match('a+', 'aa') and sorted({2, 1}) == [1, 2]";
  // Given together, they run one after another.
  const programs = [good, "assert False", "1 +", "", good];
  assert.deepEqual(
    await Promise.all(programs.map((program) => python.passes(program))),
    [true, false, false, true, true],
  );
  await fails(python, refused);
  const [[name, greedy], [, endless]] = Object.entries(fatal);
  await fails(python, { [name]: greedy });
  assert.equal(await python.passes(endless), false);
  const soon = AbortSignal.timeout(100);
  for (const program of [endless, "pass"]) {
    const ended = python.passes(program, soon);
    await assert.rejects(ended, { name: "TimeoutError" });
  }
});

testNeeding(needs.hostile, Deno.env.get("CULM_HOSTILE") === "1", {
  name: "all hostile programs fail, and their memory comes back",
  fn: async () => {
    await using python = await PythonSandbox.start(limits);
    await fails(python, fatal);
    const before = Deno.memoryUsage().rss;
    await fails(python, slow);
    const grown = (Deno.memoryUsage().rss - before) / 2 ** 20;
    assert.ok(grown < 3 * 128, `${grown} MiB more`);
  },
});
