/** Which models a server has. */
import type { LanguageModel } from "../generate/language_model.ts";
import { RequestError } from "./errors.ts";

/** A model that clients may name. */
export interface ServedModel {
  /** What clients call it */
  readonly id: string;
  readonly model: LanguageModel;
  /** When it was loaded, in seconds since 1970 */
  readonly created: number;
}

/** A model for as long as a request needs it. */
export interface ModelLease extends ServedModel, Disposable {}

/** The models of a server: one, which answers to every name. */
export class Models {
  #served?: ServedModel;
  /** Why there is none, where loading has failed */
  #failure?: unknown;

  /** `loading` may come later: until then requests are told so. */
  constructor(
    loading: LanguageModel | PromiseLike<LanguageModel>,
    alias?: string,
  ) {
    const serve = (model: LanguageModel) => {
      const created = Math.floor(Date.now() / 1000);
      this.#served = { id: alias ?? nameOf(model), model, created };
    };
    if ("then" in loading) {
      loading.then(serve, (error) => this.#failure = error);
    } else serve(loading);
  }

  /** The models that are loaded. */
  get loaded(): readonly ServedModel[] {
    return this.#served ? [this.#served] : [];
  }

  /**
   * Throws where requests cannot be answered yet.
   *
   * @throws {RequestError} 503
   */
  check(): void {
    if (this.#served) return;
    throw new RequestError(
      503,
      this.#failure ? "The model could not be loaded" : "Loading model",
      { cause: this.#failure, retryAfter: 1 },
    );
  }

  /**
   * The model of that name, until it is given back.
   *
   * @throws {RequestError} 503 where it is not loaded yet
   */
  // deno-lint-ignore require-await -- what is refused is a rejection
  async take(_name?: string): Promise<ModelLease> {
    this.check();
    return { ...this.#served!, [Symbol.dispose]: () => {} };
  }
}

function nameOf({ model }: LanguageModel): string {
  return model.name ?? model.architecture;
}
