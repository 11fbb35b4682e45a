/** The largest logits, picked on the device, against a sort on the host. */
import assert from "node:assert/strict";
import { pickingRoom } from "../../../src/places/gpu/kernels/top_logits.ts";
import { TopLogitsPicker } from "../../../src/places/gpu/run/head.ts";
import {
  topLogitsRowLength,
  unpackTopLogits,
} from "../../../src/places/top_logits_row.ts";
import { checkTopLogits, topLogits } from "../../../src/sampling/top_logits.ts";
import { PlaceError } from "../../../src/errors.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";
import { Bench, stepOf } from "./on_device.ts";

const mostPicked = 64;

/** Picks `k` of each row, all of one length. */
async function pick(bench: Bench, rows: Float32Array[], k: number) {
  const columns = rows[0].length;
  const all = new Float32Array(rows.length * columns);
  rows.forEach((row, i) => all.set(row, i * columns));
  const room = pickingRoom(columns, mostPicked);
  const picker = new TopLogitsPicker(
    bench.context,
    { buffer: bench.buffer(all), stride: columns },
    {
      picked: mostPicked,
      bytes: {
        picked: 8 * rows.length * room.row,
        top: 4 * rows.length * topLogitsRowLength(mostPicked),
      },
    },
  );
  const step = stepOf(1, { top: k });
  bench.device.gpu.queue.writeBuffer(bench.context.step, 0, step);
  const { dispatches } = bench.commands.counts;
  const { buffer } = picker.region(rows.length, k);
  const bytes = await bench.run(
    () => picker.encode(rows.length, k),
    buffer,
  );
  const width = topLogitsRowLength(k);
  return {
    dispatches: bench.commands.counts.dispatches - dispatches,
    tops: rows.map((_, i) =>
      unpackTopLogits(new Float32Array(bytes, 4 * i * width, width))
    ),
  };
}

/** Rows that are hard to order: any numbers, many equal ones, all equal. */
function hardRows(columns: number): Float32Array[] {
  const any = gaussianVector(columns, columns, 5);
  const coarse = any.map((value) => Math.round(value) || -0);
  const rising = Float32Array.from(any, (_, i) => i / columns);
  const few = Float32Array.from(
    any,
    (value, i) => i % 100 === 7 ? value : -Infinity,
  );
  if (columns > 7) return [any, coarse, rising, few];
  return [any, coarse, rising];
}

testWithAdapter(
  "the largest logits are those of a sort, bit by bit",
  async () => {
    using bench = await Bench.open(stepOf(1));
    for (const columns of [1, 31, 1024, 1025, 32000, 151_936]) {
      const rows = hardRows(columns);
      for (const k of [1, 5, 40, 64]) {
        const { tops, dispatches } = await pick(bench, rows, k);
        assert(dispatches <= 3, `${dispatches} dispatches`);
        rows.forEach((row, i) => {
          const expected = topLogits(row, k);
          const count = Math.min(k, columns);
          const what = `row ${i} of ${columns}, ${k} picked`;
          assert.deepEqual(tops[i].ids.subarray(0, count), expected.ids, what);
          tops[i].logits.subarray(0, count).forEach((logit, j) =>
            assert.equal(logit + 0, expected.logits[j] + 0, what)
          );
          const error = Math.abs(tops[i].logSumExp - expected.logSumExp);
          assert(error < 1e-5 * Math.abs(expected.logSumExp) + 2e-6, what);
        });
      }
    }
  },
);

testWithAdapter(
  "logits that are no numbers come first, and are refused",
  async () => {
    using bench = await Bench.open(stepOf(1));
    const columns = 3000;
    const bad: [values: number[], message: RegExp][] = [
      [[NaN], /the logit of token 2500 of 3000 is NaN/],
      [[Infinity], /the logit of token 2500 of 3000 is Infinity/],
      [[Infinity, NaN], /the logit of token 2501 of 3000 is NaN/],
    ];
    const rows = bad.map(([values]) => {
      const row = gaussianVector(columns, 1);
      row.set(values, 2500);
      return row;
    });
    // The other NaN, whose sign is set: x86 makes it of 0 / 0.
    const negative = gaussianVector(columns, 2);
    new Uint32Array(negative.buffer)[9] = 0xffc00000;
    const forbidden = new Float32Array(columns).fill(-Infinity);
    const { tops } = await pick(bench, [...rows, negative, forbidden], 3);
    const messages = [
      ...bad.map(([, message]) => message),
      /the logit of token 9 of 3000 is NaN/,
      /all 3000 logits are -Infinity/,
    ];
    tops.forEach((top, i) =>
      assert.throws(
        () => checkTopLogits(top, columns),
        (error) =>
          error instanceof PlaceError && messages[i].test(error.message),
      )
    );
  },
);
