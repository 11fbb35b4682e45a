/** Upstreams that were found, beside those that are listed. */
import type { Gateway } from "../../../server.ts";
import { upstreamUrl } from "../../../src/gateway/fleet.ts";
import type { Announcement } from "../../nats/announcements.ts";

/** The most that are found: who may say that there are some might say too many. */
const mostFound = 1000;

/** After so many ms without a word an upstream that is down is forgotten. */
const patience = 30_000;

/** Tells a gateway of its upstreams: those of the list, and those that say that they are there. */
export class FoundUpstreams {
  readonly #found = new Map<string, number>();
  #listed: readonly string[] = [];
  #lookedAt = 0;

  constructor(
    readonly gateway: Pick<Gateway, "setUpstreams" | "upstreams">,
    readonly now: () => number = Date.now,
  ) {}

  /**
   * These are listed from now on.
   *
   * @throws {UsageError} for what is no address of a server
   */
  list(urls: readonly string[]): void {
    this.gateway.setUpstreams([...urls, ...this.#found.keys()]);
    this.#listed = urls;
  }

  /**
   * One says that it is there, or leaves.
   *
   * @throws {UsageError} for what is no address of a server
   */
  hear({ url: text, isLeaving }: Announcement): void {
    const url = upstreamUrl(text);
    if (isLeaving) {
      if (this.#found.delete(url)) this.#tell();
      return;
    }
    this.#forget();
    const isNew = !this.#found.has(url);
    if (isNew && this.#found.size >= mostFound) return;
    this.#found.set(url, this.now());
    if (isNew) this.#tell();
  }

  /** Those that are silent and down are gone, which is looked for now and then. One that is silent and up is not: NATS may have been away. */
  #forget(): void {
    const since = this.now() - patience;
    if (this.#lookedAt > since) return;
    this.#lookedAt = this.now();
    const up = new Set(
      this.gateway.upstreams().filter(({ isUp }) => isUp)
        .map(({ url }) => url),
    );
    for (const [url, at] of this.#found) {
      if (at < since && !up.has(url)) this.#found.delete(url);
    }
    this.#tell();
  }

  #tell(): void {
    this.list(this.#listed);
  }
}
