/** Which models a server has. */
import type { LanguageModel } from "../generate/language_model.ts";
import { RequestError } from "./errors.ts";
import { now } from "./now.ts";

/** A model that clients may name. */
export interface ServedModel {
  /** What answers call it */
  readonly id: string;
  /** What clients may call it: its id, and other names */
  readonly aliases: readonly string[];
  readonly model: LanguageModel;
  /** When it was loaded, in seconds since 1970 */
  readonly created: number;
  /** Aborted when it is unloaded, which those who only watch it do not keep it from */
  readonly closing: AbortSignal;
}

/** A model for as long as a request needs it. */
export interface ModelLease extends ServedModel, Disposable {}

/** How far a model has come. */
export type ModelStatus = "unloaded" | "loading" | "loaded";

/** A model as it is listed. */
export interface ListedModel {
  readonly id: string;
  readonly status: ModelStatus;
  /** Where it is loaded */
  readonly served?: ServedModel;
  /** Whether it could not be loaded when that was tried last */
  readonly hasFailed: boolean;
}

/** The models of a server. */
export interface Models extends AsyncDisposable {
  /** Those that are loaded */
  readonly loaded: readonly ServedModel[];
  /** All that may be asked for */
  readonly listed: readonly ListedModel[];
  /**
   * Throws where requests cannot be answered yet.
   *
   * @throws {RequestError} 503
   */
  check(): void;
  /**
   * The model of that name, for those who watch it and need it no longer than it is loaded.
   *
   * @throws {RequestError} 404 where there is none of that name, 503 where it is not loaded
   */
  watched(name?: string): ServedModel;
  /**
   * The model of that name, until it is given back; undefined where that has to be waited for.
   *
   * @throws {RequestError} 404 where there is none of that name, 503 where it cannot be had now
   */
  takeLoaded(name?: string): ModelLease | undefined;
  /**
   * The same, as soon as it can be had.
   *
   * @throws as {@linkcode Models.takeLoaded} does
   * @throws {RequestError} 500 where it cannot be loaded
   * @throws what `signal` was aborted with
   */
  take(name: string | undefined, signal: AbortSignal): Promise<ModelLease>;
  /**
   * Gives its memory back.
   *
   * @throws {RequestError} where it is needed, not loaded, or not the server's to close
   */
  unload(name: string): Promise<void>;
}

const { signal: unaborted } = new AbortController();

/** The one model of a server, which answers to every name. */
export class OneModel implements Models {
  #served?: ServedModel;
  /** Why there is none, where loading has failed */
  #failure?: unknown;

  /** `loading` may come later: until then requests are told so. */
  constructor(
    loading: LanguageModel | PromiseLike<LanguageModel>,
    names: readonly string[] = [],
  ) {
    const serve = (model: LanguageModel) => {
      const created = now();
      const aliases = names.length > 0 ? names : [nameOf(model)];
      const [id] = aliases;
      this.#served = { id, aliases, model, created, closing: unaborted };
    };
    if ("then" in loading) {
      loading.then(serve, (error) => this.#failure = error);
    } else serve(loading);
  }

  get loaded(): readonly ServedModel[] {
    return this.#served ? [this.#served] : [];
  }

  get listed(): readonly ListedModel[] {
    return this.loaded.map((served) => ({
      id: served.id,
      status: "loaded",
      served,
      hasFailed: false,
    }));
  }

  check(): void {
    if (this.#served) return;
    throw new RequestError(
      503,
      this.#failure ? "The model could not be loaded" : "Loading model",
      { cause: this.#failure, retryAfter: 1 },
    );
  }

  watched(): ServedModel {
    this.check();
    return this.#served!;
  }

  takeLoaded(): ModelLease {
    return { ...this.watched(), [Symbol.dispose]: () => {} };
  }

  // deno-lint-ignore require-await -- what is refused is a rejection
  async take(): Promise<ModelLease> {
    return this.takeLoaded();
  }

  unload(): Promise<void> {
    throw new RequestError(501, "Cannot unload the only model of a server");
  }

  /** Whoever loaded it closes it. */
  async [Symbol.asyncDispose](): Promise<void> {}
}

function nameOf({ model }: LanguageModel): string {
  return model.name ?? model.architecture;
}
