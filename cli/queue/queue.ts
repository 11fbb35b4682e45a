/**
 * Batches in NATS JetStream: a work queue of ranges of lines, the results of
 * lines, and what is known of each batch.
 *
 * The names of subjects hold what must not be twice: a stream keeps one message
 * of a subject, and refuses others. So the first result of a line stands, and a
 * range that is submitted again does not lie in the queue twice.
 *
 * @module
 */
import type {
  Consumer,
  JetStreamClient,
  JetStreamManager,
} from "@nats-io/jetstream";
import type { KV } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import { CulmError, LimitError } from "../../mod.ts";
import { isObject } from "../../src/formats/json.ts";
import { variable } from "../../src/platform/permission.ts";
import { connectNats, natsOptions, reasonOf } from "../nats/connection.ts";
import { BadFlags, type FlagsOf, type FlagTable } from "../option.ts";
import { note } from "../terminal.ts";

/** Where the queue is, and who asks. */
export const queueOptions = {
  queue: {
    type: "string",
    flag: "--queue <url>",
    defaultText: "NATS_URL",
    description:
      "servers of NATS with JetStream: nats://HOST:4222, or tls://; with commas, those of a cluster",
  },
  ...natsOptions,
} as const satisfies FlagTable;

/** What {@linkcode queueOptions} give. */
export type QueueFlags = FlagsOf<typeof queueOptions>;

/** Who submits batches, and fetches their results. */
export const submitterName = "culm batch";
/** Who answers them. */
export const workerName = "culm worker";

/** Ranges that wait or are under way: a message is gone when it was acknowledged. */
export const workStream = "culm_work";
/** The results of lines, and how often lines were tried alone. */
export const resultStream = "culm_results";
/** What is known of each batch. */
const bucket = "culm_batches";

export const subjects = {
  /** A range of a batch, for workers of a key */
  range: (key: string, batch: string, name: string) =>
    `culm.work.${key}.${batch}.${name}`,
  /** The result of line `at` of a batch */
  result: (batch: string, at: number | "*") => `culm.results.${batch}.${at}`,
  /** Try `n` of a line by itself */
  tries: (batch: string, at: number | "*", n: number | "*") =>
    `culm.tries.${batch}.${at}.${n}`,
} as const;

/**
 * The place of the line whose result has a subject; undefined where a batch of
 * so many lines has none of that name: `01` is not 1, which has another result.
 */
export function placeOf(subject: string, lines: number): number | undefined {
  const name = subject.split(".").at(-1)!;
  const at = Number(name);
  return /^(0|[1-9]\d*)$/.test(name) && at < lines ? at : undefined;
}

/** The largest message, in bytes, whatever NATS would take. */
export const mostMessageBytes = 8 << 20;
/** What of NATS's largest message headers take. */
const headerBytes = 1024;

/** Time after which an answer of NATS is not waited for any more, in ms. */
const timeout = 5000;
/** The same of a message that is added, which may be added again. */
const publishTimeout = 2000;
/** Between two attempts, in ms. */
const pause = 500;
/** Between two lines about the same trouble, in ms. */
const quiet = 10_000;

/** Where submitted batches and their results stay so long at most, in days. */
const mostDays = 30;
const nsPerMs = 1e6;
const nsPerDay = 86_400_000 * nsPerMs;

/** What is known of a batch. */
export interface Manifest {
  /** The model and settings that it is for */
  readonly key: string;
  /** How many lines it has */
  readonly lines: number;
  /** SHA-256 of the ids of its lines */
  readonly ids: string;
  /** The time that its answers state, in seconds since 1970 */
  readonly created: number;
  /** Whether all of its ranges were queued */
  readonly submitted: boolean;
  readonly cancelled: boolean;
}

/** Codes of JetStream's errors. */
const codes = {
  storeFailed: 10077,
  tooLong: 10054,
  noConsumer: 10014,
  noStream: 10059,
};

/** A queue; disposing of it closes the connection. */
export class Queue implements AsyncDisposable {
  #toldAt = -Infinity;

  private constructor(
    readonly connection: NatsConnection,
    readonly js: JetStreamClient,
    readonly manager: JetStreamManager,
    readonly batches: KV,
  ) {}

  /**
   * Connects to the queue that the flags name.
   *
   * @throws {BadFlags} where they name none
   * @throws {CulmError} where it cannot be reached, or refuses the credentials
   */
  static async open(flags: QueueFlags, name: string): Promise<Queue> {
    const url = flags.queue ?? variable("NATS_URL");
    if (url === undefined) {
      throw new BadFlags("Cannot find the queue: --queue nats://HOST:4222");
    }
    const connection = await connectNats(url, flags, name);
    const [{ jetstream }, { Kvm }] = await Promise.all([
      import("@nats-io/jetstream"),
      import("@nats-io/kv"),
    ]);
    const js = jetstream(connection, { timeout });
    const manager = await js.jetstreamManager(false);
    const batches = await new Kvm(js).open(bucket, { allow_direct: true });
    return new Queue(connection, js, manager, batches);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // One that is not connected now has nothing to send, and would wait for that.
    await Promise.race([this.connection.drain().catch(() => {}), delay(2000)]);
    await this.connection.close();
  }

  /** The longest data of a message, in bytes. */
  get mostBytes(): number {
    const most = this.connection.info?.max_payload ?? 1 << 20;
    return Math.min(most - headerBytes, mostMessageBytes);
  }

  /**
   * Makes the streams where they are not there, and the consumer that gives
   * ranges to workers of a key, again after `ackWait` ms without a sign of life.
   */
  async setUp(key: string, ackWait: number): Promise<void> {
    await asked("set the queue up", async () => {
      const [js, { Kvm }] = await Promise.all([
        import("@nats-io/jetstream"),
        import("@nats-io/kv"),
      ]);
      const { streams, consumers } = this.manager;
      const common = {
        storage: js.StorageType.File,
        discard: js.DiscardPolicy.New,
        max_msgs_per_subject: 1,
        discard_new_per_subject: true,
        max_msg_size: mostMessageBytes + headerBytes,
        max_age: mostDays * nsPerDay,
      };
      await orMade(streams.info(workStream), () =>
        streams.add({
          ...common,
          name: workStream,
          subjects: ["culm.work.>"],
          retention: js.RetentionPolicy.Workqueue,
        }));
      await orMade(streams.info(resultStream), () =>
        streams.add({
          ...common,
          name: resultStream,
          subjects: ["culm.results.>", "culm.tries.>"],
          allow_direct: true,
        }));
      await orMade(
        streams.info(`KV_${bucket}`),
        () =>
          new Kvm(this.js).create(bucket, {
            history: 1,
            allow_direct: true,
            ttl: mostDays * nsPerDay / nsPerMs,
          }),
      );
      await orMade(
        consumers.info(workStream, key),
        () =>
          consumers.add(workStream, {
            durable_name: key,
            filter_subject: `culm.work.${key}.>`,
            ack_policy: js.AckPolicy.Explicit,
            ack_wait: ackWait * nsPerMs,
            max_deliver: -1,
            max_ack_pending: -1,
            max_waiting: 1 << 16,
          }),
      );
    });
  }

  /** What gives ranges to workers of a key; undefined where nobody has submitted any. */
  async consumer(key: string): Promise<Consumer | undefined> {
    try {
      return await this.js.consumers.get(workStream, key);
    } catch (error) {
      const code = codeOf(error);
      if (code === codes.noConsumer || code === codes.noStream) {
        return undefined;
      }
      throw failure("ask for work", error);
    }
  }

  /** What is known of a batch; undefined where there is none of that id. */
  async manifest(batch: string): Promise<Manifest | undefined> {
    return (await this.entry(batch))?.manifest;
  }

  /** The same, with the number of its version. */
  async entry(
    batch: string,
  ): Promise<{ manifest: Manifest; revision: number } | undefined> {
    const entry = await asked("ask for a batch", () => this.batches.get(batch));
    if (!entry || entry.operation !== "PUT") return undefined;
    const manifest = readManifest(entry.string());
    return manifest && { manifest, revision: entry.revision };
  }

  /** Enters a batch; one that is there already stays. */
  async enter(batch: string, manifest: Manifest): Promise<void> {
    await asked(
      "enter a batch",
      () => this.batches.create(batch, JSON.stringify(manifest)),
    );
  }

  /** Removes a batch; gives the number of its results. */
  async delete(batch: string, key: string): Promise<number> {
    // First, so that workers answer it no further.
    await asked("remove a batch", () => this.batches.purge(batch));
    await this.purge(workStream, subjects.range(key, batch, "*"));
    await this.purge(resultStream, subjects.tries(batch, "*", "*"));
    return await this.purge(resultStream, subjects.result(batch, "*"));
  }

  /** Changes what is known of a batch. */
  async change(batch: string, changes: Partial<Manifest>): Promise<void> {
    await asked("change a batch", async () => {
      const entry = await this.entry(batch);
      if (!entry) return;
      const changed = JSON.stringify({ ...entry.manifest, ...changes });
      await this.batches.update(batch, changed, entry.revision);
    });
  }

  /** The places of the lines that have results, of a batch of so many. */
  async answered(batch: string, lines: number): Promise<Set<number>> {
    const { streams } = this.manager;
    return await asked("ask for a batch", async () => {
      const info = await streams.info(resultStream, {
        subjects_filter: subjects.result(batch, "*"),
      });
      const places = Object.keys(info.state.subjects ?? {})
        .map((subject) => placeOf(subject, lines));
      return new Set(places.filter((at) => at !== undefined));
    });
  }

  /** Whether a line has a result. */
  async hasResult(batch: string, at: number): Promise<boolean> {
    const query = { last_by_subj: subjects.result(batch, at) };
    return await asked(
      "ask for a result",
      async () =>
        await this.manager.direct.getMessage(resultStream, query) !== null,
    );
  }

  /**
   * Adds a message, unless there is one of its subject; says whether there was
   * none. Where NATS has no room or does not answer, tries on until `signal`; by
   * its id NATS knows a message that it has stored, but whose answer was lost.
   *
   * @throws {LimitError} where the message is too long
   * @throws {CulmError} where the credentials do not permit it
   */
  async add(
    subject: string,
    data: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const bytes = new TextEncoder().encode(data);
    if (bytes.length > this.mostBytes) {
      throw new LimitError(
        `a message has ${bytes.length} bytes, the queue takes ${this.mostBytes} (max_payload of NATS)`,
      );
    }
    const options = { timeout: publishTimeout, msgID: crypto.randomUUID() };
    for (;;) {
      signal.throwIfAborted();
      try {
        await this.js.publish(subject, bytes, options);
        return true;
      } catch (error) {
        if (isThere(error)) return false;
        if (this.isLasting(error)) throw failure(`add ${subject}`, error);
        this.tell(error);
      }
      await delay(pause);
    }
  }

  /** Whether an error of NATS's would be the same at any other time. */
  isLasting(error: unknown): boolean {
    return isRefused(error) || this.connection.isClosed();
  }

  /** Says now and then what keeps the queue from answering. */
  tell(error: unknown): void {
    const now = performance.now();
    if (now < this.#toldAt + quiet) return;
    this.#toldAt = now;
    note(`warning: the queue does not answer, trying on: ${reasonOf(error)}`);
  }

  /** Removes messages of a subject from a stream. */
  async purge(stream: string, filter: string): Promise<number> {
    return await asked("remove messages", async () => {
      const { purged } = await this.manager.streams.purge(stream, { filter });
      return purged;
    });
  }
}

/** What is there, or what `make` makes. */
async function orMade<T>(
  there: Promise<T>,
  make: () => Promise<unknown>,
): Promise<void> {
  try {
    await there;
  } catch (error) {
    const code = codeOf(error);
    if (code !== codes.noStream && code !== codes.noConsumer) throw error;
    await make();
  }
}

function readManifest(text: string): Manifest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const { key, lines, ids, created, submitted, cancelled } = value;
  const fits = typeof key === "string" && typeof ids === "string" &&
    [lines, created].every((each) => Number.isSafeInteger(each)) &&
    [submitted, cancelled].every((each) => typeof each === "boolean");
  return fits ? value as unknown as Manifest : undefined;
}

/** Code of an error of JetStream's; undefined for others. */
function codeOf(error: unknown): number | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === "number" ? code : undefined;
}

/** Whether a message was not added since its subject has one. */
function isThere(error: unknown): boolean {
  return codeOf(error) === codes.storeFailed &&
    /per subject/.test((error as Error).message);
}

/** Whether nobody listens where something was asked: there is no such stream. */
function isUnanswered(error: unknown): boolean {
  return /no responders|not enabled/.test((error as Error).message);
}

/** Whether trying again would change nothing. */
function isRefused(error: unknown): boolean {
  if (codeOf(error) === codes.tooLong) return true;
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each.name === "PermissionViolationError") return true;
  }
  return false;
}

/** What could not be done, and why. */
export function failure(what: string, error: unknown): CulmError {
  return error instanceof CulmError ? error : new CulmError(
    `Cannot ${what}: ${reasonOf(error)}`,
    { cause: error },
  );
}

/** What NATS answers; its errors say what was asked. */
async function asked<T>(what: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw codeOf(error) === codes.noStream || isUnanswered(error)
      ? new CulmError(
        `Cannot ${what}: nobody has submitted one, or NATS runs without JetStream`,
        { cause: error },
      )
      : failure(what, error);
  }
}
