/**
 * How servers are found: each says its address by NATS, again and again, and
 * gateways listen. How it is, and which models it has, they ask it themselves.
 *
 * @module
 */
import type { NatsConnection } from "@nats-io/nats-core";
import * as v from "valibot";

/** Under which servers say where they are. */
const subject = "culm.servers";

/** Between two times that a server says so, in ms. */
const interval = 2000;

/** The longest message that is read. */
const mostBytes = 4096;

const messageSchema = v.object({
  url: v.pipe(v.string(), v.maxLength(2048)),
  isLeaving: v.boolean(),
});

/** What a server says of itself. */
export type Announcement = v.InferOutput<typeof messageSchema>;

/** A server says where it is until this is disposed of; `leave` says that it takes no more requests. */
export class Announcer implements AsyncDisposable {
  readonly #timer: ReturnType<typeof setInterval>;
  #isLeaving = false;

  constructor(readonly connection: NatsConnection, readonly url: string) {
    this.#timer = setInterval(() => this.#say(), interval);
    this.#say();
  }

  leave(): void {
    this.#isLeaving = true;
    this.#say();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    // What was said last is to be heard, but nobody waits for a server that is away.
    await Promise.race([
      this.connection.flush().catch(() => {}),
      new Promise((resolve) => setTimeout(resolve, interval)),
    ]);
  }

  #say(): void {
    const { url } = this;
    const message: Announcement = { url, isLeaving: this.#isLeaving };
    // Where NATS is away, nothing is kept for later: it will be said again.
    if (!this.connection.isClosed()) {
      this.connection.publish(subject, JSON.stringify(message));
    }
  }
}

/** Calls `heard` with what servers say, until the connection ends; `refused` with what is no such message. */
export function listen(
  connection: NatsConnection,
  heard: (announcement: Announcement) => void,
  refused: (why: string) => void,
): void {
  connection.subscribe(subject, {
    callback(error, message) {
      if (error) return refused(error.message);
      const { length } = message.data;
      if (length > mostBytes) {
        return refused(`it has ${length} bytes, the limit is ${mostBytes}`);
      }
      let value: unknown;
      try {
        value = message.json();
      } catch {
        return refused("it is no JSON");
      }
      const { success, output } = v.safeParse(messageSchema, value);
      if (success) heard(output);
      else refused("it has no url, or does not say whether the server leaves");
    },
  });
}
