/**
 * Simulates workers on a work queue: how long 10^8 lines take on fleets of
 * several sizes, and what failures, slow workers and the broker cost, by the
 * number of lines in a range. docs/scaling.md has its table and what it assumes.
 *
 * Run: `deno task bench:scaling [--lines=1e8] [--workers=10,1000,10000] [--ranges=8,32,128,512] [--line-ms=1000] [--life-hours=24,2] [--message-rate=N]`; without a rate, that of a server on this machine is measured
 *
 * @module
 */
import { parseArgs } from "node:util";
import { Random } from "../src/random.ts";
import { numberOf, optionsOf } from "./options.ts";
import { resultRate } from "./scaling/rates.ts";
import { type Fleet, simulate } from "./scaling/simulation.ts";

const { fleet, workers, ranges, lives, messageRate: given } = optionsOf(() => {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      lines: { type: "string", default: "1e8" },
      workers: { type: "string", default: "10,1000,10000" },
      ranges: { type: "string", default: "8,32,128,512" },
      "line-ms": { type: "string", default: "1000" },
      "life-hours": { type: "string", default: "24,2" },
      "message-rate": { type: "string" },
    },
  });
  const list = (text: string, name: string) =>
    text.split(",").map((each) => numberOf(each, name));
  const fleet: Omit<Fleet, "workers" | "range" | "meanLife" | "messageRate"> = {
    lines: numberOf(values.lines, "--lines"),
    lineTime: numberOf(values["line-ms"], "--line-ms") / 1000,
    slowShare: 0.01,
    slowness: 4,
    restart: 120,
    ackWait: 30,
    workingEvery: 10,
    // To ask, the range, what is known of its batch, the acknowledgement and its answer.
    rangeMessages: 6,
  };
  return {
    fleet,
    workers: list(values.workers, "--workers"),
    ranges: list(values.ranges, "--ranges"),
    lives: list(values["life-hours"], "--life-hours"),
    messageRate: values["message-rate"] === undefined
      ? undefined
      : numberOf(values["message-rate"], "--message-rate"),
  };
});

const messageRate = given ?? await resultRate();
console.log(`${messageRate.toFixed(0)} messages a second
`);
console.log(
  `| workers | mean life, h | lines a range | hours | over the ideal | tail, min | ranges begun again | broker busy |
| --- | --- | --- | --- | --- | --- | --- | --- |`,
);
const percent = (share: number) => `${(100 * share).toFixed(2)}%`;
for (const count of workers) {
  for (const life of lives) {
    for (const range of ranges) {
      const { time, overIdeal, tail, again, brokerBusy } = simulate({
        ...fleet,
        messageRate,
        workers: count,
        range,
        meanLife: 3600 * life,
      }, new Random(1));
      const row = [
        count,
        life,
        range,
        (time / 3600).toFixed(2),
        overIdeal.toFixed(3),
        (tail / 60).toFixed(1),
        percent(again),
        percent(brokerBusy),
      ];
      console.log(`| ${row.join(" | ")} |`);
    }
  }
}
