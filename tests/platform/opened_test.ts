import assert from "node:assert/strict";
import { Opened } from "../../src/platform/opened.ts";

/** Three resources, of which the second fails to close, and what was closed. */
function threeOpened() {
  const closed: string[] = [];
  const opened = new Opened();
  const resource = {
    [Symbol.asyncDispose]: () => Promise.resolve(void closed.push("resource")),
  };
  assert.equal(opened.use(resource), resource);
  opened.defer(() => {
    closed.push("fails");
    throw new Error("cannot close");
  });
  opened.defer(() => closed.push("last"));
  return { opened, closed };
}

Deno.test("what was opened is closed once, newest first, also where closing one fails", async () => {
  const { opened, closed } = threeOpened();
  await assert.rejects(opened[Symbol.asyncDispose](), /cannot close/);
  assert.deepEqual(closed, ["last", "fails", "resource"]);
  await opened[Symbol.asyncDispose]();
  assert.equal(closed.length, 3);
});

Deno.test("what is moved elsewhere is closed there", async () => {
  const { opened, closed } = threeOpened();
  const moved = opened.move();
  await opened[Symbol.asyncDispose]();
  assert.deepEqual(closed, []);
  await assert.rejects(moved[Symbol.asyncDispose](), /cannot close/);
  assert.equal(closed.length, 3);
});
