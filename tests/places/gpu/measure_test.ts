/** A device's rates from two timed products. */
import assert from "node:assert/strict";
import { speedOf } from "../../../src/places/gpu/run/measure.ts";

const stream = 1e9, dispatch = 0.004;
const timed = (bytes: number) => ({ bytes, ms: dispatch + bytes / stream });

const near = (actual: number, expected: number) =>
  assert(Math.abs(actual / expected - 1) < 1e-9, `${actual}, not ${expected}`);

Deno.test("what starting a kernel takes is told from what reading takes", () => {
  const speed = speedOf(timed(33e6), timed(75e3));
  near(speed.stream, stream);
  near(speed.dispatchMs, dispatch);
});

Deno.test("products of like sizes tell no start, and all is reading", () => {
  const speed = speedOf(timed(33e6), timed(14e6));
  assert.equal(speed.dispatchMs, 0);
  near(speed.stream, 33e6 / timed(33e6).ms);
});

Deno.test("a large product that a noisy machine times as the faster one still has a rate", () => {
  const speed = speedOf({ bytes: 33e6, ms: 0.02 }, { bytes: 75e3, ms: 0.03 });
  assert.equal(speed.dispatchMs, 0.03);
  near(speed.stream, 33e6 / 0.002);
});
