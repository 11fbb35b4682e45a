/** Scripts that measure refuse what they cannot: a guard that measures nothing would pass. */
import assert from "node:assert/strict";
import { numberOf } from "../../bench/options.ts";
import { decoded } from "../cli/run_cli.ts";

const root = `${import.meta.dirname}/../..`;

Deno.test("an option's number is checked", () => {
  assert.equal(numberOf("7", "--rounds"), 7);
  assert.equal(numberOf("0.5", "--allowed", { type: "number" }), 0.5);
  for (const text of ["0", "-1", "1.5", "x", "", "1,2"]) {
    assert.throws(() => numberOf(text, "--rounds"), /Cannot use --rounds/);
  }
});

for (
  const [script, ...args] of [
    ["guard", "--rounds=0"],
    ["guard", "--rounds=x"],
    ["guard", "--allowed=x"],
    ["guard", "--allowed=0"],
    ["guard", "--only=nothing"],
    ["guard", "--round=3"],
    ["steps", "--sequences=x"],
    ["steps", "--sequences=0,1"],
    ["steps", "--sparsity=some"],
    ["steps", "--threads=-1"],
    ["steps", "--model=nowhere.gguf"],
    ["device", "--minutes=x"],
    ["device", "--layers=0"],
  ]
) {
  Deno.test(`bench/${script}.ts refuses ${args.join(" ")} in one line`, async () => {
    const { code, out, err } = decoded(
      await new Deno.Command(Deno.execPath(), {
        args: ["run", "--quiet", "--no-prompt", "--allow-read", "--allow-sys"]
          .concat(`${root}/bench/${script}.ts`, args),
        env: { XDG_RUNTIME_DIR: "/tmp" },
      }).output(),
    );
    assert.equal(code, 2, err);
    assert.equal(out, "");
    assert.match(err, /^error: .+\n$/);
  });
}
