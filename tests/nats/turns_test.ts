import assert from "node:assert/strict";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import { Turns } from "../../cli/queue/turns.ts";

Deno.test("what needs the process to itself waits for others, and others for it", async () => {
  const turns = new Turns();
  const running = new Set<string>();
  const seen: string[] = [];
  const work = (name: string) => async () => {
    running.add(name);
    await delay(5);
    seen.push([...running].join(" "));
    running.delete(name);
    if (name === "fails") throw new Error(name);
  };
  const failing = turns.alone(work("fails"));
  const all = [
    turns.together(work("a")),
    turns.together(work("b")),
    turns.alone(work("c")),
    turns.together(work("d")),
    turns.alone(work("e")),
  ];
  await assert.rejects(failing, /fails/);
  await Promise.all(all);
  assert.equal(seen[0], "fails");
  for (const name of ["c", "e"]) assert.ok(seen.includes(name), seen.join());
  assert.equal(seen.length, 6);
});
