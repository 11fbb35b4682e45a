/**
 * Models that are loaded when they are asked for by name, and unloaded when others
 * need their room, or nobody has asked for them for a while.
 */
import type { LanguageModel } from "../generate/language_model.ts";
import { shown } from "../options.ts";
import { untilAborted } from "../platform/abort.ts";
import { RequestError } from "./errors.ts";
import { now } from "./now.ts";
import type {
  ListedModel,
  ModelLease,
  Models,
  ModelStatus,
  ServedModel,
} from "./models.ts";
import type { CheckedServerOptions } from "./options.ts";

/** A model that a server may load. */
export interface CatalogueEntry {
  /**
   * Throws where it cannot be loaded, as far as its header says: others are
   * unloaded for its sake only after that.
   */
  readonly check?: (signal: AbortSignal) => Promise<void>;
  /** Loads it, unless the server is stopped; the server closes it. */
  readonly load: (signal: AbortSignal) => Promise<LanguageModel>;
  /** About as many bytes as it takes, where that is known before it is loaded */
  readonly bytes?: number;
}

/** Models by the names that clients give. */
export type Catalogue = Readonly<Record<string, CatalogueEntry>>;

/** How many models are held, and how long. */
export type CatalogueLimits = Pick<
  CheckedServerOptions,
  "modelsMax" | "modelsMemory" | "sleepIdleSeconds"
>;

const GiB = 2 ** 30;

/** One of the catalogue's. */
interface Entry extends CatalogueEntry {
  readonly id: string;
  status: ModelStatus;
  served?: ServedModel;
  /** Aborted when it is unloaded */
  closing: AbortController;
  /** Requests that use it */
  leases: number;
  /** Requests that wait for it */
  readonly waiting: Set<PromiseWithResolvers<ModelLease>>;
  /** Whether it is being loaded, or in line for that */
  isInLine: boolean;
  /** Whether another waits for its room: requests that come now are behind that one */
  isLeaving: boolean;
  /** When it was last taken, in the order of uses */
  usedAt: number;
  /** Whether it could not be loaded when that was tried last */
  hasFailed: boolean;
  idle?: ReturnType<typeof setTimeout>;
}

/** The models of a server that has several. */
export class ModelCatalogue implements Models {
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #limits: CatalogueLimits;
  readonly #onUnload: (model: LanguageModel) => void;
  readonly #stopping = new AbortController();
  #uses = 0;
  /** What is loaded or unloaded now; one after another, in the order in which that was asked for */
  #changing: Promise<void> = Promise.resolve();
  /** Resolved when a request needs its model no more, or waits no more */
  #left = Promise.withResolvers<void>();

  /** `onUnload` is told of models before they are closed. */
  constructor(
    catalogue: Catalogue,
    limits: CatalogueLimits,
    onUnload: (model: LanguageModel) => void = () => {},
  ) {
    this.#limits = limits;
    this.#onUnload = onUnload;
    this.#entries = new Map(
      Object.entries(catalogue).map(([id, entry]) => [id, {
        ...entry,
        id,
        status: "unloaded",
        closing: new AbortController(),
        leases: 0,
        waiting: new Set(),
        isInLine: false,
        isLeaving: false,
        usedAt: 0,
        hasFailed: false,
      }]),
    );
  }

  get loaded(): readonly ServedModel[] {
    return this.#all.flatMap(({ served }) => served ?? []);
  }

  get listed(): readonly ListedModel[] {
    return this.#all.map(
      ({ id, status, served, hasFailed }) => ({
        id,
        status,
        served,
        hasFailed,
      }),
    );
  }

  get #all(): readonly Entry[] {
    return [...this.#entries.values()];
  }

  check(): void {}

  watched(name?: string): ServedModel {
    const { id, served } = this.#find(name);
    if (served) return served;
    throw new RequestError(
      503,
      `Cannot watch ${shown(id)}: it is not loaded`,
      { param: "model", retryAfter: 1 },
    );
  }

  takeLoaded(name?: string): ModelLease | undefined {
    const entry = this.#find(name);
    return isReady(entry) ? this.#lease(entry) : undefined;
  }

  async take(
    name: string | undefined,
    signal: AbortSignal,
  ): Promise<ModelLease> {
    const entry = this.#find(name);
    try {
      return await this.#takeEntry(entry, signal);
    } catch (error) {
      // Who names none has another, as long as there is one that may do.
      if (name || !entry.hasFailed || this.#find().hasFailed) throw error;
      return await this.take(name, signal);
    }
  }

  async #takeEntry(entry: Entry, signal: AbortSignal): Promise<ModelLease> {
    signal.throwIfAborted();
    if (isReady(entry)) return this.#lease(entry);
    const waiter = Promise.withResolvers<ModelLease>();
    entry.waiting.add(waiter);
    this.#loadLater(entry);
    try {
      return await untilAborted(waiter.promise, signal);
    } catch (error) {
      if (entry.waiting.delete(waiter)) this.#leave();
      // Granted in the same moment, or refused.
      else waiter.promise.then((lease) => lease[Symbol.dispose](), () => {});
      throw error;
    }
  }

  async unload(name: string): Promise<void> {
    const entry = this.#find(name);
    const refuse = (status: number, why: string) => {
      const message = `Cannot unload ${shown(name)}: ${why}`;
      throw new RequestError(status, message, { param: "model" });
    };
    const checkNeeds = () => {
      const { leases, waiting } = entry;
      const needs = leases + waiting.size;
      if (needs > 0) refuse(409, `${needs} requests need it`);
    };
    checkNeeds();
    await this.#change(async () => {
      checkNeeds();
      if (!entry.served) refuse(400, "it is not loaded");
      await this.#unload(entry);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(
      new RequestError(503, "Cannot answer: the server is stopping"),
    );
    this.#leave();
    await this.#change(async () => {
      await Promise.all(this.#all.map((entry) => this.#unload(entry)));
    });
  }

  /**
   * The entry of a name; where none is given, what was used last, or the first:
   * one that could not be loaded only where there is no other.
   */
  #find(name?: string): Entry {
    const found = name
      ? this.#entries.get(name)
      : this.#all.toSorted((a, b) =>
        Number(a.hasFailed) - Number(b.hasFailed) || b.usedAt - a.usedAt
      )[0];
    if (found) return found;
    throw new RequestError(
      404,
      `There is no model ${shown(name)}: /v1/models lists them`,
      { code: "model_not_found", param: "model" },
    );
  }

  /** Gives a request a model that is loaded. */
  #lease(entry: Entry): ModelLease {
    entry.leases++;
    entry.usedAt = ++this.#uses;
    clearTimeout(entry.idle);
    let isHeld = true;
    const giveBack = () => {
      if (!isHeld) return;
      isHeld = false;
      entry.leases--;
      this.#leave();
      this.#sleepLater(entry);
    };
    return { ...entry.served!, [Symbol.dispose]: giveBack };
  }

  /** Those who wait look again whether there is room. */
  #leave(): void {
    this.#left.resolve();
    this.#left = Promise.withResolvers();
  }

  /** Loads a model for those who wait for it, when it is its turn. */
  #loadLater(entry: Entry): void {
    if (entry.isInLine) return;
    entry.isInLine = true;
    this.#change(async () => {
      try {
        await this.#bring(entry);
        this.#grant(entry);
      } catch (error) {
        for (const { reject } of entry.waiting) reject(error);
        entry.waiting.clear();
      } finally {
        entry.isInLine = false;
      }
    });
  }

  /** Gives a model that is loaded to all who wait for it. */
  #grant(entry: Entry): void {
    if (!entry.served) return;
    for (const { resolve } of entry.waiting) resolve(this.#lease(entry));
    entry.waiting.clear();
    this.#sleepLater(entry);
  }

  /** Loads a model, unless nobody waits for it any more. */
  async #bring(entry: Entry): Promise<void> {
    const { signal } = this.#stopping;
    try {
      signal.throwIfAborted();
      if (entry.served || entry.waiting.size === 0) return;
      this.#checkSize(entry);
      await entry.check?.(signal);
      if (!await this.#makeRoom(entry)) return;
      entry.status = "loading";
      const model = await entry.load(signal);
      const created = now();
      entry.closing = new AbortController();
      const { id, closing } = entry;
      entry.served = {
        id,
        aliases: [id],
        model,
        created,
        closing: closing.signal,
      };
      entry.status = "loaded";
      entry.hasFailed = false;
    } catch (cause) {
      entry.status = "unloaded";
      signal.throwIfAborted();
      entry.hasFailed = true;
      if (cause instanceof RequestError) throw cause;
      throw new RequestError(
        500,
        `The model ${shown(entry.id)} could not be loaded`,
        { cause, code: "model_load_failed", param: "model" },
      );
    }
  }

  #checkSize({ id, bytes = 0 }: Entry): void {
    const { modelsMemory } = this.#limits;
    if (modelsMemory === 0 || bytes <= modelsMemory * GiB) return;
    throw new RequestError(
      503,
      `Cannot load ${shown(id)}: it takes ${
        gib(bytes)
      } GiB, and all models together may have ${modelsMemory}`,
    );
  }

  /**
   * Unloads those that were not used for longest, until there is room for one
   * more; false where nobody waits for that one any more. Where all are needed, it
   * waits for the first that is not, and lets no more requests have the one whose
   * turn it would be: so they cannot keep it for ever.
   */
  async #makeRoom(entry: Entry): Promise<boolean> {
    const { signal } = this.#stopping;
    try {
      while (this.#isFull(entry.bytes)) {
        signal.throwIfAborted();
        if (entry.waiting.size === 0) return false;
        const held = this.#all.filter(({ served }) => served)
          .toSorted((a, b) => a.usedAt - b.usedAt);
        const idle = held.find(({ leases }) => leases === 0);
        if (idle) await this.#unload(idle);
        else {
          held[0].isLeaving = true;
          await this.#left.promise;
        }
      }
      return true;
    } finally {
      for (const each of this.#all) {
        if (!each.isLeaving) continue;
        each.isLeaving = false;
        // Another went in its place.
        this.#grant(each);
      }
    }
  }

  /** Whether there is no room for a model of so many bytes. */
  #isFull(bytes = 0): boolean {
    const { modelsMax, modelsMemory } = this.#limits;
    const { loaded } = this;
    const held = loaded.reduce(
      (sum, { model }) => sum + model.engine.weightBytes,
      bytes,
    );
    return loaded.length >= modelsMax ||
      modelsMemory > 0 && loaded.length > 0 && held > modelsMemory * GiB;
  }

  /** Closes a model, if it is loaded. */
  async #unload(entry: Entry): Promise<void> {
    clearTimeout(entry.idle);
    if (!entry.served) return;
    const { model } = entry.served;
    this.#onUnload(model);
    entry.served = undefined;
    entry.status = "unloaded";
    entry.closing.abort();
    await model[Symbol.asyncDispose]();
  }

  #sleepLater(entry: Entry): void {
    const { sleepIdleSeconds } = this.#limits;
    clearTimeout(entry.idle);
    if (
      sleepIdleSeconds < 0 || entry.leases > 0 || this.#stopping.signal.aborted
    ) return;
    const sleep = async () => {
      if (entry.leases === 0) await this.#unload(entry);
    };
    entry.idle = setTimeout(
      () => this.#change(sleep),
      1000 * sleepIdleSeconds,
    );
  }

  /** Lets `act` change what is loaded, when those before it have. */
  #change(act: () => Promise<void>): Promise<void> {
    const done = this.#changing.then(act);
    this.#changing = done.catch(() => {}); // whoever asked is told of it
    return done;
  }
}

/** Whether a request may have it at once. */
function isReady({ served, isLeaving }: Entry): boolean {
  return served !== undefined && !isLeaving;
}

function gib(bytes: number): string {
  return (bytes / GiB).toFixed(1);
}
