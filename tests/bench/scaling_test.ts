import assert from "node:assert/strict";
import { type Fleet, simulate } from "../../bench/scaling/simulation.ts";
import { Random } from "../../src/random.ts";

const calm: Fleet = {
  workers: 10,
  lines: 10_000,
  range: 10,
  lineTime: 1,
  slowShare: 0,
  slowness: 1,
  meanLife: Infinity,
  restart: 60,
  ackWait: 30,
  workingEvery: 10,
  messageRate: Infinity,
  rangeMessages: 0,
};

Deno.test("a fleet without failures takes what its lines take", () => {
  const { time, overIdeal, again } = simulate(calm, new Random(1));
  assert.deepEqual([time, overIdeal, again], [1000, 1, 0]);
});

Deno.test("a slow worker takes fewer ranges, and ends last", () => {
  const fleet = { ...calm, slowShare: 0.3, slowness: 4, range: 100 };
  const { overIdeal, tail } = simulate(fleet, new Random(1));
  assert(overIdeal > 1 && overIdeal < 1.5, `${overIdeal}`);
  assert(tail > 0 && tail <= 400, `${tail}`);
});

Deno.test("ranges are begun again as often as workers die in them", () => {
  const fleet = { ...calm, lines: 1_000_000, meanLife: 1000 };
  const { again, time } = simulate(fleet, new Random(1));
  // A range of 10 s ends before a death with e^(-10/1000).
  const expected = Math.expm1(10 / 1000);
  assert(Math.abs(again / expected - 1) < 0.05, `${again} of ${expected}`);
  // A worker is away 60 s in 1,060; a little is lost with the ranges.
  assert(Math.abs(time / 106_500 - 1) < 0.02, `${time}`);
});

Deno.test("every range is stored where all workers die all the time", () => {
  for (let seed = 0; seed < 20; seed++) {
    const fleet = { ...calm, lines: 500, meanLife: 8 };
    const { time, again } = simulate(fleet, new Random(seed));
    assert(Number.isFinite(time) && again > 0.5, `${time}, ${again}`);
  }
});

Deno.test("a broker that is too slow holds a fleet up", () => {
  const fleet = { ...calm, workers: 100, messageRate: 100 };
  const { time, brokerBusy } = simulate(fleet, new Random(1));
  // 1,000 ranges of 10 messages at 90 a second, as `working` takes 10.
  assert(Math.abs(time / (10_000 / 90) - 1) < 0.2, `${time}`);
  assert(brokerBusy > 0.85, `${brokerBusy}`);
  assert.throws(
    () => simulate({ ...fleet, workers: 2000 }, new Random(1)),
    /^RangeError: Cannot simulate 2000 workers/,
  );
});
