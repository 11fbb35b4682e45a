/** All upstreams of a gateway: which there are, and how they are. */
import { UsageError } from "../errors.ts";
import { shown } from "../options.ts";
import { followAborts } from "../platform/abort.ts";
import { RequestError } from "../server/errors.ts";
import type { CheckedGatewayOptions } from "./options.ts";
import { type ModelCard, probe } from "./probe.ts";
import { Upstream } from "./upstream.ts";

/** How many times in a row an upstream may be late with saying how it is. */
const mostLate = 3;

/** The most upstreams: each is asked how it is all the time. */
const mostUpstreams = 10_000;

/** How upstreams are looked after. */
export type FleetOptions = Pick<
  CheckedGatewayOptions,
  "healthInterval" | "healthTimeout" | "upstreamKey" | "onChange"
>;

/** The upstreams of a gateway. */
export class Fleet implements AsyncDisposable {
  readonly #upstreams = new Map<string, Upstream>();
  readonly #watches = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  readonly #options: FleetOptions;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** All of them, those that are to be forgotten too. */
  get all(): readonly Upstream[] {
    return [...this.#upstreams.values()];
  }

  /**
   * These are the upstreams now: others get no more requests.
   *
   * @throws {UsageError} for what is no address of a server
   */
  set(urls: readonly string[]): void {
    const wanted = new Set(urls.map(upstreamUrl));
    if (wanted.size > mostUpstreams) {
      throw new UsageError(
        `Cannot use ${wanted.size} upstreams: the limit is ${mostUpstreams}`,
      );
    }
    for (const upstream of this.all) {
      if (!wanted.has(upstream.url)) this.#remove(upstream);
    }
    for (const url of wanted) this.#add(url);
  }

  /** Waits until some are up, or all have been looked at. */
  async ready(): Promise<void> {
    if (this.all.some(({ state }) => state === "up")) return;
    await Promise.all(this.all.map(({ looked }) => looked.promise));
  }

  /**
   * Those that could answer a request for a model, and are not among `except`;
   * none, where they are down. A name that nobody has is that of the only model,
   * where there is one: so does `culm serve` take it.
   *
   * @throws {RequestError} 404 where there is no such model
   */
  candidates(
    model: string | undefined,
    except: ReadonlySet<Upstream> = new Set(),
  ): Upstream[] {
    const staying = this.all.filter(({ isLeaving }) => !isLeaving);
    const having = model === undefined
      ? []
      : staying.filter(({ names }) => names.has(model));
    const ids = new Set(
      staying.flatMap(({ models }) => models.map(({ id }) => id)),
    );
    if (model !== undefined && having.length === 0 && ids.size > 1) {
      throw new RequestError(404, `There is no model ${shown(model)}`, {
        code: "model_not_found",
        param: "model",
      });
    }
    const able = (having.length > 0 ? having : staying)
      .filter((each) => !except.has(each));
    const up = able.filter(({ state }) => state === "up");
    return up.length > 0
      ? up
      : able.filter(({ state }) => state === "doubtful");
  }

  /** The models of those that are up, each once. */
  models(): ModelCard[] {
    const cards = this.all
      .filter(({ state, isLeaving }) => state !== "down" && !isLeaving)
      .flatMap(({ models }) => models);
    return [...new Map(cards.toReversed().map((card) => [card.id, card]))
      .values()].reverse();
  }

  /** Looks after none any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    for (const upstream of this.all) upstream.leave();
    await Promise.all(this.#watches);
  }

  #add(url: string): void {
    const known = this.#upstreams.get(url);
    if (known) {
      known.isLeaving = false;
      return;
    }
    const upstream = new Upstream(url);
    this.#upstreams.set(url, upstream);
    const watch = this.#watch(upstream)
      .finally(() => this.#watches.delete(watch));
    this.#watches.add(watch);
  }

  #remove(upstream: Upstream): void {
    if (upstream.isLeaving) return;
    upstream.leave();
    this.#tell(upstream, `gets no more requests, ${upstream.running} run`);
  }

  async #watch(upstream: Upstream): Promise<void> {
    const { signal } = this.#closing;
    const isOver = () =>
      signal.aborted || upstream.isLeaving && upstream.running === 0;
    let late = 0;
    while (!isOver()) {
      late = await this.#look(upstream) ? late + 1 : 0;
      if (late >= mostLate) this.#fall(upstream, "it does not say how it is");
      // Nothing wakes it that came while it was looked at.
      if (isOver()) break;
      await upstream.rest(1000 * this.#options.healthInterval);
    }
    this.#upstreams.delete(upstream.url);
    if (!signal.aborted) this.#tell(upstream, "is left out");
  }

  /** Looks how it is, and says whether it was late to tell. */
  async #look(upstream: Upstream): Promise<boolean> {
    const { healthTimeout, upstreamKey } = this.#options;
    const headers: HeadersInit = upstreamKey
      ? { authorization: `Bearer ${upstreamKey}` }
      : {};
    const late = new AbortController();
    using _ = followAborts(late, [this.#closing.signal]);
    const timer = setTimeout(() => late.abort(), 1000 * healthTimeout);
    const { state, hasMetrics } = upstream;
    try {
      const { signal } = late;
      const report = await probe(upstream.url, { headers, hasMetrics, signal });
      upstream.rise(report);
      if (state === "new" || state === "down") {
        const names = report.models.map(({ id }) => id).join(", ");
        this.#tell(upstream, `is up: ${names || "no model"}`);
      }
      return false;
    } catch (error) {
      if (!late.signal.aborted) this.#fall(upstream, reasonOf(error));
      else if (state === "new") this.#fall(upstream, "it does not answer");
      else upstream.doubt();
      return late.signal.aborted;
    } finally {
      clearTimeout(timer);
      upstream.looked.resolve();
    }
  }

  #fall(upstream: Upstream, why: string): void {
    if (upstream.state === "down") return;
    upstream.fall();
    if (!this.#closing.signal.aborted) this.#tell(upstream, `is down: ${why}`);
  }

  #tell({ url }: Upstream, what: string): void {
    this.#options.onChange?.(`upstream ${url} ${what}`);
  }
}

/** What went wrong, without fetch's words for whatever it is that was not there. */
function reasonOf(error: unknown): string {
  return error instanceof TypeError
    ? "it cannot be reached"
    : (error as Error).message;
}

/**
 * An address as it is kept: without `/v1`, which paths have, and slashes at its end.
 *
 * @throws {UsageError} where it is none
 */
export function upstreamUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    !url || !/^https?:$/.test(url.protocol) || url.username || url.password ||
    url.search || url.hash
  ) {
    throw new UsageError(
      `Cannot use the upstream ${shown(text)}: it is no http://HOST:PORT`,
    );
  }
  return `${url.origin}${url.pathname}`.replace(/(\/v1)?\/*$/, "");
}
