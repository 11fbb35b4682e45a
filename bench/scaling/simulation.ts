/**
 * Workers that pull ranges of lines from a work queue, as a simulation of
 * discrete events: what failures, slow workers and the broker cost, at sizes
 * that no one machine can try.
 *
 * The broker is one server of a fixed rate: a range costs it some messages, and
 * each result one. Workers that say `working` take their share of that rate. A worker dies at times that are exponentially distributed; its range
 * comes back when the broker has heard nothing of it for `ackWait`, and the
 * worker after `restart`.
 */
import { BinaryHeap } from "@std/data-structures/binary-heap";
import type { Random } from "../../src/random.ts";

/** A fleet, its work and its broker. Times in seconds. */
export interface Fleet {
  readonly workers: number;
  readonly lines: number;
  /** Lines in a range: what a worker takes at once */
  readonly range: number;
  /** What a line takes on a usual worker */
  readonly lineTime: number;
  /** Share of workers that are slow, and how many times as slow */
  readonly slowShare: number;
  readonly slowness: number;
  /** Mean time between failures of a worker, and until it works again */
  readonly meanLife: number;
  readonly restart: number;
  /** When a range is given to another worker, after the last word of its own */
  readonly ackWait: number;
  /** How often a worker says that it is at work */
  readonly workingEvery: number;
  /** Messages a second that the broker takes */
  readonly messageRate: number;
  /** Messages that a range costs besides its results: half before it, half behind it */
  readonly rangeMessages: number;
}

/** What became of it. Times in seconds. */
export interface Outcome {
  /** Until the last range was stored */
  readonly time: number;
  /** Over what workers without failures, queue and ends would take */
  readonly overIdeal: number;
  /** From the first worker that found nothing to do to the end */
  readonly tail: number;
  /** Ranges that were begun again, over all */
  readonly again: number;
  /** Share of the time in which the broker was busy */
  readonly brokerBusy: number;
}

/** What happens to a worker, and when. */
interface Event {
  readonly at: number;
  readonly worker: number;
  /** Absent where it begins anew */
  readonly range?: "stored" | "lost";
}

/**
 * Runs a fleet to its end.
 *
 * @throws {RangeError} where saying `working` alone takes all that the broker has
 */
export function simulate(fleet: Fleet, random: Random): Outcome {
  const { workers, lines, range, lineTime, ackWait } = fleet;
  const working = workers / fleet.workingEvery / fleet.messageRate;
  if (working >= 1) {
    throw new RangeError(
      `Cannot simulate ${workers} workers: their \`working\` takes ${
        working.toFixed(1)
      } of what the broker passes on`,
    );
  }
  const paces = Array.from(
    { length: workers },
    () => random.next() < fleet.slowShare ? fleet.slowness : 1,
  );
  const exponential = (mean: number) => -mean * Math.log1p(-random.next());
  const deaths = paces.map(() => exponential(fleet.meanLife));
  const broker = new Broker((1 - working) * fleet.messageRate);
  const events = new BinaryHeap<Event>((a: Event, b: Event) => a.at - b.at);
  const returned = new BinaryHeap<number>((a: number, b: number) => a - b);
  const idle: number[] = [];
  let fresh = Math.ceil(lines / range), stored = 0, again = 0;
  const all = fresh;
  let firstIdle: number | undefined;

  const begin = (worker: number, now: number) => {
    const back = returned.peek();
    if (fresh > 0) fresh--;
    else if (back !== undefined && back <= now) returned.pop();
    else {
      firstIdle ??= now;
      if (back === undefined) idle.push(worker);
      else events.push({ at: back, worker });
      return;
    }
    const start = broker.pass(now, fleet.rangeMessages / 2);
    const end = start + range * lineTime * paces[worker];
    const death = deaths[worker];
    events.push(
      death < end
        ? { at: Math.max(death, now), worker, range: "lost" }
        : { at: end, worker, range: "stored" },
    );
  };

  for (let worker = 0; worker < workers; worker++) {
    events.push({ at: 0, worker });
  }
  let time = 0;
  while (stored < all) {
    const { at, worker, range: end } = events.pop()!;
    if (end === "lost") {
      again++;
      const back = at + ackWait, alive = at + fleet.restart;
      returned.push(back);
      const other = idle.pop();
      if (other !== undefined) events.push({ at: back, worker: other });
      deaths[worker] = alive + exponential(fleet.meanLife);
      events.push({ at: alive, worker });
      continue;
    }
    let now = at;
    if (end === "stored") {
      now = broker.pass(at, fleet.rangeMessages / 2 + range);
      stored++;
      time = Math.max(time, now);
    }
    // One that had nothing to do may have died meanwhile; it is back by now.
    if (deaths[worker] < now) {
      deaths[worker] = now + exponential(fleet.meanLife);
    }
    begin(worker, now);
  }
  const rate = paces.reduce((sum, pace) => sum + 1 / pace, 0);
  return {
    time,
    overIdeal: time / (lines * lineTime / rate),
    tail: time - (firstIdle ?? time),
    again: again / all,
    brokerBusy: working + (1 - working) * broker.busy / time,
  };
}

/** Passes on one thing after another. */
class Broker {
  busy = 0;
  #free = 0;

  constructor(readonly messageRate: number) {}

  /** When it has passed on what came at `at`. */
  pass(at: number, messages: number): number {
    const takes = messages / this.messageRate;
    this.busy += takes;
    this.#free = Math.max(at, this.#free) + takes;
    return this.#free;
  }
}
