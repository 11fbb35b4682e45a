import assert from "node:assert/strict";
import { pagePositions } from "../../src/places/batch.ts";
import { PagePool } from "../../src/engine/page_pool.ts";

Deno.test("as many pages as there are can be forgotten at once", () => {
  const pool = new PagePool(true);
  // More than a call can have arguments.
  const count = 200_000;
  pool.grow(count);
  assert.ok(pagePositions > 0);
  assert.equal(pool.available, count);
  const pages = Array.from({ length: count }, () => pool.take()!);
  for (const page of pages) pool.release(page);
  pool.forgetPast();
  assert.equal(pool.free, count);
});
