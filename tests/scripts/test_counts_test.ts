import assert from "node:assert/strict";
import { needs, skippedLines } from "../helpers/needs.ts";
import { cargoCounts, junitCounts } from "../../scripts/test_counts.ts";

Deno.test("counts the cases of the report that deno test writes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/some_test.ts`,
      `Deno.test("passes > \\"1\\" />", () => {});
       Deno.test("prints its own end", () => { throw new Error("<skipped/></testcase>"); });
       Deno.test("also fails", () => { throw new Error("b"); });
       Deno.test("passes too", () => {});
       Deno.test("passes as well", () => {});
       Deno.test({ name: "waits & \\"won't\\"", ignore: true, fn() {} });`,
    );
    await new Deno.Command(Deno.execPath(), {
      args: ["test", "--no-config", "--junit-path=report.xml", "some_test.ts"],
      cwd: folder,
    }).output();
    const report = await Deno.readTextFile(`${folder}/report.xml`);
    assert.deepEqual(junitCounts(report), {
      passed: 3,
      failed: 2,
      skipped: [`waits & "won't"`],
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what was skipped is said by need, and how to have it", () => {
  const { adapter, smollm2 } = needs;
  assert.deepEqual(
    skippedLines([
      `a (needs ${adapter.what})`,
      `b (needs ${smollm2.what})`,
      `c (needs ${adapter.what})`,
      "d",
    ]),
    [
      `skipped: 2 tests that need ${adapter.what}: ${adapter.how}`,
      `skipped: 1 test that needs ${smollm2.what}: ${smollm2.how}`,
      "skipped: d",
    ],
  );
  assert.deepEqual(skippedLines([]), []);
});

Deno.test("a report without a test is not a pass", () => {
  assert.throws(() => junitCounts("<testsuites></testsuites>"), /no test/);
  assert.throws(() => cargoCounts("error: could not compile"), /no test/);
});

Deno.test("adds up the results of cargo's test binaries", () => {
  const printed = `
running 3 tests
...
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
`;
  assert.deepEqual(cargoCounts(printed), { passed: 7, failed: 2, skipped: [] });
});
