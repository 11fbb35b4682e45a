/**
 * Faults at every allocation, read and message of a step, and aborts at any
 * time: a request either fails, and its sequence is as it was, or gives what an
 * undisturbed engine gives, to the last bit.
 */
import assert from "node:assert/strict";
import { LimitError } from "../../mod.ts";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { Engine } from "../../src/engine/engine.ts";
import type { Sequence } from "../../src/engine/sequence.ts";
import type { CpuSidePlace } from "../../src/places/place.ts";
import { startTeam } from "../../src/places/start.ts";
import { InlineTeam } from "../../src/places/inline_team.ts";
import type { Team } from "../../src/places/team.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import { randomModel } from "../helpers/random_model.ts";
import { nextRates } from "../helpers/rates.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { cpuTeam, limits, referenceTeam } from "../helpers/teams.ts";

const sparsity = { mode: "exact" } as const;
const made = await randomModel({
  type: "Q4_0",
  layerCount: 2,
  hiddenSize: 32,
  feedForwardSize: 32,
  headCount: 2,
  kvHeadCount: 1,
  vocabSize: 48,
  seed: 9,
});
const { model } = made;

/** Lets something fail every now and then, wherever it is asked. */
class Faults {
  count = 0;
  #left = Infinity;

  constructor(readonly below: (n: number) => number, readonly gap: number) {}

  /** Faults come from now on: two after one another, then none until the places go on. */
  start(): void {
    const pause = this.count % 2 === 1 || this.count === 0 ? 0 : 5 * this.gap;
    this.#left = 1 + pause + this.below(this.gap);
  }

  /** Starts places anew: behind two faults, however long that takes here, none comes meanwhile. */
  async restart(start: () => Promise<Team>): Promise<Team> {
    const isPause = this.count % 2 === 0;
    if (isPause) this.#left = Infinity;
    const team = await start();
    if (isPause) this.start();
    return team;
  }

  /** Throws where it is time for a fault. */
  check(what: string): void {
    if (--this.#left > 0) return;
    this.count++;
    this.start();
    throw new Error(`A fault of the test: ${what}`);
  }

  /** Bytes that are not always to be had. */
  source(from: ByteSource): ByteSource {
    return {
      ...from,
      read: async (...range) => {
        this.check("read");
        return await from.read(...range);
      },
    };
  }

  /** A team each of whose places fails in the middle of steps. */
  team(team: InlineTeam): Team {
    const cpu = team.sides.cpu.map((place) =>
      new Proxy(place, {
        get: (target, name) => {
          const value = Reflect.get(target, name, target);
          if (typeof value !== "function") return value;
          return (...args: unknown[]) => {
            this.check(String(name));
            return value.apply(target, args);
          };
        },
      }) as CpuSidePlace
    );
    return new InlineTeam(team.description, team.options, { cpu });
  }

  /** Memory that cannot grow at times, while `run` runs. */
  async withAllocations<T>(run: () => Promise<T>): Promise<T> {
    const { grow } = WebAssembly.Memory.prototype;
    const check = () => this.check("allocation");
    WebAssembly.Memory.prototype.grow = function (pages) {
      check();
      return grow.call(this, pages);
    };
    try {
      return await run();
    } finally {
      WebAssembly.Memory.prototype.grow = grow;
    }
  }
}

/** Evaluates, forks, cuts and drops at random, with both engines. */
async function disturb(
  undisturbed: Engine,
  engine: Engine,
  below: (n: number) => number,
): Promise<void> {
  let pairs: [Sequence, Sequence][] = [];
  for (let i = 0; i < 8; i++) {
    const pair = pairs[below(pairs.length)];
    const kind = below(6);
    if (!pair) {
      pairs.push([undisturbed.createSequence(), engine.createSequence()]);
    } else if (kind === 0 && pairs.length < 4) {
      pairs.push([pair[0].fork(), pair[1].fork()]);
    } else if (kind === 1) {
      const length = below(pair[0].length + 1);
      for (const sequence of pair) sequence.truncate(length);
    } else if (kind === 2 && pairs.length > 1) {
      for (const sequence of pair) sequence.drop();
      pairs = pairs.filter((other) => other !== pair);
    }
    await Promise.all(pairs.map(async ([expected, actual]) => {
      const count = Math.min(
        1 + below(21),
        limits.contextSize - expected.length,
      );
      if (count === 0) return;
      const ids = Array.from({ length: count }, () => below(model.vocabSize));
      const rows = undisturbed.evaluate(expected, ids, "all");
      for (let tries = 0;; tries++) {
        assert(tries < 20);
        const before = [actual.length, ...actual.pages];
        const controller = new AbortController();
        if (tries === 0 && below(4) === 0) {
          setTimeout(
            () => controller.abort(new LimitError("aborted")),
            below(8),
          );
        }
        try {
          const { signal } = controller;
          const given = await engine.evaluate(actual, ids, "all", signal);
          assert.deepEqual(given, await rows);
          return;
        } catch (error) {
          if (!(error instanceof LimitError)) throw error;
          assert.equal(actual.length, before[0]);
          assert.equal(actual.pages.length, before.length - 1);
        }
      }
    }));
  }
  for (const sequence of pairs.flat()) sequence.drop();
  assert.equal(engine.pagesTaken, 0);
}

interface Kind {
  readonly seeds: number;
  /** Most calls between two faults */
  readonly gap: number;
  /** Faults of a seed on average, at least: workers die by the clock, so a fast machine has few */
  readonly least: number;
  readonly start: (source: ByteSource, faults: Faults) => Promise<Team>;
}

const kinds: Record<string, Kind> = {
  "reference places": {
    // They take ten times as long as those of the CPU.
    seeds: 40,
    gap: 300,
    least: 1,
    start: async (source, faults) =>
      faults.team(
        await referenceTeam(
          { ...made, source },
          splitEvenly(model, 2),
          sparsity,
        ) as InlineTeam,
      ),
  },
  "CPU places": {
    seeds: 230,
    gap: 200,
    least: 1,
    start: async (source, faults) =>
      faults.team(
        await cpuTeam({ model, source }, splitEvenly(model, 1), sparsity),
      ),
  },
  "threads": {
    seeds: 20,
    gap: 120,
    least: 0.3,
    start: (source, faults) =>
      withWorkers(faults, () =>
        startTeam(source, 2, {
          model,
          sparsity,
          limits,
          cacheType: "f32",
          measureRecall: false,
          rates: nextRates(),
        })),
  },
};

/** Starts a team in workers that cannot be asked at times, or die in the middle of a step. */
async function withWorkers(
  faults: Faults,
  start: () => Promise<Team>,
): Promise<Team> {
  const Real = globalThis.Worker;
  globalThis.Worker = class extends Real {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(url, options);
      const timer = setInterval(() => {
        try {
          faults.check("death");
        } catch (error) {
          const { message } = error as Error;
          this.terminate();
          this.onerror?.(new ErrorEvent("error", { message }));
        }
      }, 1);
      this.terminate = () => {
        clearInterval(timer);
        super.terminate();
      };
    }
    override postMessage(message: unknown, transfer: unknown): void {
      faults.check("message");
      super.postMessage(message, transfer as Transferable[]);
    }
  };
  try {
    const team = await start();
    // In one thread, sums may be made in another order.
    assert.match(team.description, /2 threads/);
    return team;
  } finally {
    globalThis.Worker = Real;
  }
}

for (const [name, { seeds, gap, least, start }] of Object.entries(kinds)) {
  Deno.test(`whatever fails, sequences are as they were or go on: ${name}, ${seeds} seeds`, async () => {
    const random = seededRandom(seeds);
    const below = (n: number) => Math.floor(random() * n);
    await using undisturbed = new Engine(
      await start(made.source, new Faults(below, gap)),
      model.vocabSize,
    );
    let count = 0, restarts = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const random = seededRandom(1000 * seed);
      const below = (n: number) => Math.floor(random() * n);
      const faults = new Faults(below, gap);
      const source = faults.source(made.source);
      const team = await start(source, faults);
      await using engine = new Engine(team, model.vocabSize, {
        keepsPast: seed % 2 === 0,
        restart: () => {
          restarts++;
          return faults.restart(() => start(source, faults));
        },
      });
      faults.start();
      await faults.withAllocations(() => disturb(undisturbed, engine, below));
      count += faults.count;
    }
    assert(count > least * seeds, `${count} faults`);
    assert(restarts > least * seeds / 2, `${restarts} restarts`);
  });
}
