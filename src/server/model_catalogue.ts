/**
 * Models that are loaded when they are asked for by name, and unloaded when others
 * need their room, or nobody has asked for them for a while.
 */
import type { LanguageModel } from "../generate/language_model.ts";
import { RequestError } from "./errors.ts";
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
  /** Loads it; the server closes it. */
  readonly load: () => Promise<LanguageModel>;
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
  /** Until it can be used, or has failed */
  loading?: Promise<void>;
  /** Requests that need it, or wait for it */
  leases: number;
  /** When it was last used, in the order of uses */
  usedAt: number;
  hasFailed: boolean;
  idle?: ReturnType<typeof setTimeout>;
}

/** The models of a server that has several. */
export class ModelCatalogue implements Models {
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #limits: CatalogueLimits;
  #uses = 0;
  /** What is loaded or unloaded now; one after another */
  #changing: Promise<void> = Promise.resolve();
  /** Resolved when a model is given back, where somebody waits for that */
  #freed = Promise.withResolvers<void>();
  #closed = false;

  constructor(catalogue: Catalogue, limits: CatalogueLimits) {
    this.#limits = limits;
    this.#entries = new Map(
      Object.entries(catalogue).map(([id, entry]) => [id, {
        ...entry,
        id,
        status: "unloaded",
        leases: 0,
        usedAt: 0,
        hasFailed: false,
      }]),
    );
  }

  get loaded(): readonly ServedModel[] {
    return [...this.#entries.values()].flatMap(({ served }) => served ?? []);
  }

  get listed(): readonly ListedModel[] {
    return [...this.#entries.values()].map((
      { id, status, served, hasFailed },
    ) => ({ id, status, served, hasFailed }));
  }

  check(): void {}

  async take(name?: string): Promise<ModelLease> {
    const entry = this.#find(name);
    entry.leases++;
    entry.usedAt = ++this.#uses;
    clearTimeout(entry.idle);
    let isHeld = true;
    const giveBack = () => {
      if (!isHeld) return;
      isHeld = false;
      entry.leases--;
      this.#freed.resolve();
      this.#freed = Promise.withResolvers();
      this.#sleepLater(entry);
    };
    try {
      await this.#untilLoaded(entry);
      return { ...entry.served!, [Symbol.dispose]: giveBack };
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  async unload(name: string): Promise<void> {
    const entry = this.#find(name);
    if (entry.leases > 0) {
      throw new RequestError(
        409,
        `Cannot unload ${
          JSON.stringify(name)
        }: ${entry.leases} requests need it`,
        { param: "model" },
      );
    }
    await this.#change(() => this.#unload(entry));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#freed.resolve();
    const entries = [...this.#entries.values()];
    await this.#change(async () => {
      await Promise.all(entries.map((entry) => this.#unload(entry, true)));
    });
  }

  /** The entry of a name; where none is given, what was used last, or the first. */
  #find(name?: string): Entry {
    const entries = [...this.#entries.values()];
    const found = name
      ? this.#entries.get(name)
      : entries.toSorted((a, b) => b.usedAt - a.usedAt)[0];
    if (found) return found;
    throw new RequestError(
      404,
      `There is no model ${JSON.stringify(name)}: /v1/models lists them`,
      { code: "model_not_found", param: "model" },
    );
  }

  async #untilLoaded(entry: Entry): Promise<void> {
    // Unloaded in between, where it is closed, it is not loaded again.
    if (entry.served) return;
    entry.loading ??= this.#change(() => this.#load(entry))
      .finally(() => entry.loading = undefined);
    await entry.loading;
  }

  async #load(entry: Entry): Promise<void> {
    const { modelsMemory } = this.#limits;
    const { bytes = 0 } = entry, most = modelsMemory * GiB;
    if (modelsMemory > 0 && bytes > most) {
      throw new RequestError(
        503,
        `Cannot load ${JSON.stringify(entry.id)}: it takes ${
          gib(bytes)
        } GiB, and all models together may have ${modelsMemory}`,
      );
    }
    await this.#makeRoom(bytes);
    entry.status = "loading";
    try {
      const model = await entry.load();
      const created = Math.floor(Date.now() / 1000);
      entry.served = { id: entry.id, model, created };
      entry.status = "loaded";
      entry.hasFailed = false;
    } catch (cause) {
      entry.status = "unloaded";
      entry.hasFailed = true;
      throw new RequestError(
        500,
        `The model ${JSON.stringify(entry.id)} could not be loaded`,
        { cause },
      );
    }
  }

  /** Unloads those that were not used for longest, until there is room for one more. */
  async #makeRoom(bytes: number): Promise<void> {
    const { modelsMax, modelsMemory } = this.#limits;
    const isFull = () => {
      const { loaded } = this;
      const held = loaded.reduce(
        (sum, { model }) => sum + model.engine.weightBytes,
        bytes,
      );
      return loaded.length >= modelsMax ||
        modelsMemory > 0 && loaded.length > 0 && held > modelsMemory * GiB;
    };
    while (isFull()) {
      if (this.#closed) {
        throw new RequestError(503, "Cannot answer: the server is stopping");
      }
      const [idle] = [...this.#entries.values()]
        .filter(({ served, leases }) => served && leases === 0)
        .toSorted((a, b) => a.usedAt - b.usedAt);
      if (idle) await this.#unload(idle);
      else await this.#freed.promise;
    }
  }

  /** Closes a model that nobody needs, or `always`. */
  async #unload(entry: Entry, always = false): Promise<void> {
    clearTimeout(entry.idle);
    if (!entry.served || entry.leases > 0 && !always) return;
    const { model } = entry.served;
    entry.served = undefined;
    entry.status = "unloaded";
    await model[Symbol.asyncDispose]();
  }

  #sleepLater(entry: Entry): void {
    const { sleepIdleSeconds } = this.#limits;
    clearTimeout(entry.idle);
    if (sleepIdleSeconds < 0 || entry.leases > 0 || this.#closed) return;
    entry.idle = setTimeout(
      () => this.#change(() => this.#unload(entry)),
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

function gib(bytes: number): string {
  return (bytes / GiB).toFixed(1);
}
