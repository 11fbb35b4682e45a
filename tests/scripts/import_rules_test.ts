import assert from "node:assert/strict";
import fc from "fast-check";
import { circles, climbs, importsOf } from "../../scripts/import_rules.ts";

const graphOf = (imports: Record<string, string[]>) =>
  new Map(Object.entries(imports));

Deno.test("imports are found in every form, and not in comments", () => {
  const source = `
    /** import { a } from "./comment.ts"; */
    // import "./line.ts";
    import { b } from "./b.ts";
    import type { C } from "../c.ts";
    export { d } from "./d.ts";
    import text from "./e.wgsl" with { type: "text" };
    import "./f.ts";
    const g = await import("./g.ts");
    import {
      h,
    } from "./h.ts";
    import npm from "package";
  `;
  assert.deepEqual(importsOf(source), [
    "./b.ts",
    "../c.ts",
    "./d.ts",
    "./e.wgsl",
    "./f.ts",
    "./g.ts",
    "./h.ts",
  ]);
});

Deno.test("an import that climbs, goes sideways or lies outside is named", () => {
  assert.deepEqual(
    climbs(graphOf({
      "src/errors.ts": ["src/bytes/file.ts"],
      "src/model/model.ts": ["src/errors.ts", "src/places/place.ts"],
      "src/plan/plan.ts": ["src/model/model.ts", "src/kernels/matrix.ts"],
      "src/places/place.ts": ["src/plan/plan.ts", "src/places/batch.ts"],
      "src/attic/old.ts": [],
      "mod.ts": ["src/load/load.ts"],
      "cli/main.ts": ["mod.ts"],
    })),
    [
      "src/errors.ts climbs to src/bytes/file.ts",
      "src/model/model.ts climbs to src/places/place.ts",
      "src/plan/plan.ts goes sideways to src/kernels/matrix.ts",
      "src/attic/old.ts lies in a room without a rank",
    ],
  );
});

Deno.test("circles are found whole, and only circles", () => {
  const imports = { a: ["b", "d"], b: ["c"], c: ["a"], d: ["e"], e: ["e"] };
  assert.deepEqual(circles(graphOf(imports)), [["e"], ["a", "b", "c"]]);
});

Deno.test("a graph has no circle exactly where its files can be put in order", () => {
  const edges = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 })),
    { maxLength: 30 },
  );
  fc.assert(fc.property(edges, (pairs) => {
    const graph = new Map(
      Array.from({ length: 10 }, (_, i) => [
        `${i}`,
        pairs.filter(([from]) => from === i).map(([, to]) => `${to}`),
      ]),
    );
    const left = new Map(graph);
    for (;;) {
      const free = [...left].find(([, to]) => to.every((t) => !left.has(t)));
      if (!free) break;
      left.delete(free[0]);
    }
    assert.equal(circles(graph).length === 0, left.size === 0);
  }));
});
