/** A worker: takes ranges of lines from the queue, and stores their results. */
import type { Consumer, JsMsg } from "@nats-io/jetstream";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import { CulmError, LimitError } from "../../mod.ts";
import { type BatchResult, runBatch } from "../../server.ts";
import { isObject } from "../../src/formats/json.ts";
import { failedResult } from "../../src/server/batch/run.ts";
import { note, printable } from "../terminal.ts";
import { failure, type Manifest, type Queue, subjects } from "./queue.ts";
import { type Range, type RangeLine, readRange } from "./ranges.ts";
import { Turns } from "./turns.ts";

/** What a worker is made of. */
export interface WorkerOptions {
  /** The model and settings whose ranges it takes */
  readonly key: string;
  /** Answers requests */
  readonly fetch: (request: Request) => Promise<Response>;
  /** Requests of one range under way at the same time */
  readonly concurrency: number;
  /** Ends the work: what is not answered is given back. */
  readonly signal: AbortSignal;
}

/** Ranges that are held at the same time: while the last lines of one are written, others begin. */
const ranges = 2;

/** How often a range is answered as one. Those that have come back more often are answered line by line. */
const wholeTries = 2;
/** How often a line is tried by itself, before that is its result. */
const lineTries = 3;
/** Different lines that fail in a row after which something is wrong with more than the lines. */
const mostFailures = 3;

/** How long one question for work waits, in ms. */
const patience = 20_000;
/** Between two questions where nobody has submitted anything, or nobody answers, in ms. */
const pause = 1000;
/** How long others are let to try lines that have failed here, in ms. */
const handedOn = 500;
/** Signs of life within the time after which a range is given to another worker. */
const signs = 3;
/** Between two lines about the progress, in ms. */
const tellEvery = 10_000;

/** A batch that was cancelled, or is not there any more. */
const cancelled = new DOMException("The batch was cancelled", "AbortError");

/** Takes ranges until its signal is aborted, or nothing can be answered any more. */
export class QueueWorker {
  /** Lines that have failed since the last one that was answered. */
  readonly #failing = new Set<string>();
  readonly #broken = new AbortController();
  readonly #turns = new Turns();
  readonly #stop: AbortSignal;
  /** Ends questions for work of a connection that was lost. */
  #asking = new AbortController();
  #toldAt = performance.now();
  #told = 0;
  /** Lines that were answered here. */
  answered = 0;

  constructor(readonly queue: Queue, readonly options: WorkerOptions) {
    this.#stop = AbortSignal.any([options.signal, this.#broken.signal]);
  }

  /** @throws {CulmError} where lines fail whatever they are, or the queue permits nothing */
  async run(): Promise<void> {
    const consumer = await this.#consumer();
    if (!consumer) return;
    const { ack_wait } = (await consumer.info(true)).config;
    const ackWait = ack_wait! / 1e6;
    this.#askAnew();
    await Promise.all(
      Array.from({ length: ranges }, () => this.#takeAll(consumer, ackWait)),
    );
    if (this.#broken.signal.aborted) throw this.#broken.signal.reason;
  }

  /** What gives ranges, once somebody has submitted some. */
  async #consumer(): Promise<Consumer | undefined> {
    const { key } = this.options;
    let isTold = false;
    while (!this.#stop.aborted) {
      try {
        const consumer = await this.queue.consumer(key);
        if (consumer) return consumer;
        if (!isTold) {
          note(
            `waiting: there is no batch for this model and settings, ${key}`,
          );
        }
        isTold = true;
      } catch (error) {
        if (this.queue.isLasting(error)) throw error;
        this.queue.tell(error);
      }
      await delay(pause);
    }
  }

  /** Asks for work again where the connection was lost: nobody would answer the last question. */
  async #askAnew(): Promise<void> {
    for await (const { type } of this.queue.connection.status()) {
      if (type === "reconnect") this.#asking.abort();
    }
  }

  async #takeAll(consumer: Consumer, ackWait: number): Promise<void> {
    while (!this.#stop.aborted) {
      try {
        if (this.#asking.signal.aborted) this.#asking = new AbortController();
        const { signal } = this.#asking;
        const stop = AbortSignal.any([this.#stop, signal]);
        const message = await next(consumer, stop);
        if (message) await this.#take(message, ackWait);
      } catch (error) {
        if (this.#stop.aborted) return;
        if (this.queue.isLasting(error)) {
          this.#broken.abort(failure("take work", error));
          return;
        }
        this.queue.tell(error);
        await delay(pause);
      }
    }
  }

  /** Answers one range, or gives it back. */
  async #take(message: JsMsg, ackWait: number): Promise<void> {
    const giveUp = new AbortController();
    const signal = AbortSignal.any([this.#stop, giveUp.signal]);
    let batch: string | undefined;
    const live = setInterval(() => {
      message.working();
      if (batch !== undefined) this.#giveUpCancelled(batch, giveUp);
    }, ackWait / signs);
    try {
      const range = this.#read(message);
      const manifest = range && await this.#manifestOf(range);
      if (!manifest) return message.term();
      batch = range.batch;
      const isDone = await this.#answer(range, manifest, message, signal);
      if (isDone) await message.ackAck().catch(() => {});
      else message.nak(handedOn);
    } catch (error) {
      if (giveUp.signal.aborted) return message.term();
      message.nak();
      if (!this.#stop.aborted) throw error;
    } finally {
      clearInterval(live);
    }
  }

  /** What a message asks for; nothing where it is no range for this worker, which is told. */
  #read({ data, seq, subject }: JsMsg): Range | undefined {
    try {
      const range = readRange(data, this.queue.mostBytes);
      const [, , key, batch] = subject.split(".");
      if (range.key !== this.options.key || range.key !== key) {
        throw new CulmError(
          `it is for model ${range.key}, this is ${this.options.key}`,
        );
      }
      if (range.batch !== batch) {
        throw new CulmError(`it is of ${range.batch}, its subject of ${batch}`);
      }
      return range;
    } catch (error) {
      if (!(error instanceof CulmError)) throw error;
      note(printable(`refused message ${seq}: ${error.message}`));
    }
  }

  /** What is known of a range's batch; nothing where it is not to be answered. */
  async #manifestOf(
    { batch, key, lines }: Range,
  ): Promise<Manifest | undefined> {
    const manifest = await this.queue.manifest(batch);
    if (manifest?.cancelled) return undefined;
    const last = Math.max(...lines.map(({ at }) => at));
    const why = !manifest
      ? "there is no such batch"
      : manifest.key !== key
      ? `it is for model ${manifest.key}`
      : last >= manifest.lines
      ? `it has ${manifest.lines} lines, and none at ${last}`
      : undefined;
    if (why === undefined) return manifest;
    note(printable(`refused a range of ${batch}: ${why}`));
  }

  /** Ends the work on a batch that is not wanted any more. */
  #giveUpCancelled(batch: string, giveUp: AbortController): void {
    this.queue.manifest(batch).then(
      (manifest) => {
        if (!manifest || manifest.cancelled) giveUp.abort(cancelled);
      },
      () => {}, // It is asked again.
    );
  }

  /** Answers what of a range has no results; says whether all have some now. */
  async #answer(
    range: Range,
    { created }: Manifest,
    { info: { deliveryCount } }: JsMsg,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { batch } = range;
    const lines = deliveryCount > 1
      ? await this.#withoutResults(range)
      : range.lines;
    if (deliveryCount <= wholeTries) {
      return await this.#turns.together(() =>
        this.#answerTogether(batch, lines, created, signal)
      );
    }
    // Nothing else is to end the process meanwhile.
    return await this.#turns.alone(async () => {
      let isDone = true;
      for (const each of lines) {
        const has = await this.#answerAlone(batch, each, created, signal);
        isDone = isDone && has;
      }
      return isDone;
    });
  }

  async #withoutResults({ batch, lines }: Range): Promise<RangeLine[]> {
    const has = await Promise.all(
      lines.map(({ at }) => this.queue.hasResult(batch, at)),
    );
    return lines.filter((_, i) => !has[i]);
  }

  /** Answers lines, and stores results as they come; says whether all have some. */
  async #answerTogether(
    batch: string,
    lines: readonly RangeLine[],
    created: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const places = new Map(lines.map(({ at, line }) => [line.customId, at]));
    const failed = new AbortController();
    const storing: Promise<void>[] = [];
    let isDone = true;
    const results = runBatch(lines.map(({ line }) => line), {
      ...this.options,
      created,
      signal: AbortSignal.any([signal, failed.signal]),
    });
    for await (const result of results) {
      if (this.#isFailure(result)) isDone = false;
      else {
        const at = places.get(result.custom_id)!;
        storing.push(
          this.#store(batch, at, result, created, signal)
            .catch((error) => failed.abort(error)),
        );
      }
    }
    await Promise.all(storing);
    failed.signal.throwIfAborted();
    return isDone;
  }

  /** Answers a line for which ranges have come back; says whether it has a result. */
  async #answerAlone(
    batch: string,
    { at, line }: RangeLine,
    created: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const tries = await this.#countTry(batch, at, signal);
    if (tries > lineTries) {
      const result = await failedResult(
        line,
        `Cannot answer: each of the ${lineTries} workers that tried this line ended`,
        created,
      );
      await this.#store(batch, at, result, created, signal);
      return true;
    }
    const options = { ...this.options, created, signal };
    for await (const result of runBatch([line], options)) {
      if (this.#isFailure(result) && tries < lineTries) return false;
      await this.#store(batch, at, result, created, signal);
    }
    return true;
  }

  /** The number of a new try of a line; more than there are to be where it had all. */
  async #countTry(
    batch: string,
    at: number,
    signal: AbortSignal,
  ): Promise<number> {
    let tries = 1;
    while (
      tries <= lineTries &&
      !await this.queue.add(subjects.tries(batch, at, tries), "", signal)
    ) tries++;
    return tries;
  }

  /** Stores a result, unless another worker has. */
  async #store(
    batch: string,
    at: number,
    result: BatchResult,
    created: number,
    signal: AbortSignal,
  ): Promise<void> {
    const subject = subjects.result(batch, at);
    try {
      await this.queue.add(subject, JSON.stringify(result), signal);
    } catch (error) {
      if (!(error instanceof LimitError)) throw error;
      const line = { customId: result.custom_id, url: "", body: {} };
      const failed = await failedResult(
        line,
        `Cannot store the answer: ${error.message}`,
        created,
      );
      await this.queue.add(subject, JSON.stringify(failed), signal);
    }
    this.answered++;
    this.#tell();
  }

  /**
   * Whether a line may be answered elsewhere, or later. Ends the work where
   * lines fail whatever they are.
   */
  #isFailure({ custom_id, response: { status_code, body } }: BatchResult) {
    const isFailure = status_code === 500 || status_code === 503;
    if (!isFailure) this.#failing.clear();
    else {
      this.#failing.add(custom_id);
      if (this.#failing.size >= mostFailures) {
        const error = isObject(body) && isObject(body.error) ? body.error : {};
        this.#broken.abort(
          new CulmError(
            `Cannot go on: ${mostFailures} requests in a row failed, the last with: ${error.message}`,
          ),
        );
      }
    }
    return isFailure;
  }

  /** Says now and then how far the work has come. */
  #tell(): void {
    const now = performance.now();
    if (now < this.#toldAt + tellEvery) return;
    const rate = 1000 * (this.answered - this.#told) / (now - this.#toldAt);
    note(`${this.answered} requests answered, ${rate.toPrecision(3)}/s`);
    this.#toldAt = now;
    this.#told = this.answered;
  }
}

/** The next range; nothing where there is none for a while, or `signal` is aborted. */
async function next(
  consumer: Consumer,
  signal: AbortSignal,
): Promise<JsMsg | undefined> {
  const messages = await consumer.fetch({ max_messages: 1, expires: patience });
  const stop = () => messages.stop();
  signal.addEventListener("abort", stop);
  try {
    for await (const message of messages) return message;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
