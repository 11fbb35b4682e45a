import { FormatError, UnsupportedError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import { isObject, type JsonObject } from "../formats/json.ts";

/** Reads what a config says, with errors that name its file. */
export class ConfigReader {
  /** Of an object of `config.json`; `name` is the file's, and `path` what stands before the object's keys. */
  constructor(
    readonly json: JsonObject,
    readonly name: string,
    readonly path = "",
  ) {}

  /** A size, up to `most`; without a fallback it has to be there. */
  size(key: string, fallback?: number, most = Infinity): number {
    const value = this.#value(key) ?? fallback;
    if (!Number.isSafeInteger(value) || value as number < 1) {
      throw this.#needs(key, value, "a whole number above 0");
    }
    if (value as number > most) {
      throw this.#needs(key, value, `at most ${most}`);
    }
    return value as number;
  }

  /** A number above 0; without a fallback it has to be there. */
  positive(key: string, fallback?: number): number {
    const value = this.#value(key) ?? fallback;
    if (typeof value === "number" && value > 0 && value < 1e30) return value;
    throw this.#needs(key, value, "a number above 0");
  }

  /** A number above 0, where there is one. */
  optional(key: string): number | undefined {
    return this.#value(key) === undefined ? undefined : this.positive(key);
  }

  /** A size, where there is one. */
  optionalSize(key: string): number | undefined {
    return this.#value(key) === undefined ? undefined : this.size(key);
  }

  /** Texts, one for each of so many, where there are some. */
  texts(key: string, length: number): readonly string[] | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    const isRight = Array.isArray(value) && value.length === length &&
      value.every((each) => typeof each === "string");
    if (isRight) return value;
    throw this.#needs(key, value, `${length} texts`);
  }

  /** Several numbers above 0, where there are some. */
  list(key: string, length: number): Float32Array | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    const isRight = Array.isArray(value) && value.length === length &&
      value.every((each) => typeof each === "number" && each > 0);
    if (isRight) return Float32Array.from(value as number[]);
    throw this.#needs(key, value, `${length} numbers above 0`);
  }

  /** An object within this one, or an empty one; with the first of the keys that is there. */
  object(...keys: string[]): ConfigReader {
    const key = keys.find((each) => this.#value(each) !== undefined);
    const value = key === undefined ? {} : this.json[key];
    if (isObject(value)) {
      return new ConfigReader(value, this.name, `${this.path}${key}.`);
    }
    throw new FormatError(`Cannot read ${this.name}: ${key} is no object`);
  }

  /** That culm cannot run what the config says. */
  refusal(what: string, value: unknown, known: string): UnsupportedError {
    return new UnsupportedError(
      `Cannot convert ${this.name}: its ${what} is ${
        shown(value)
      }, known ${known}`,
    );
  }

  /** `null` says nothing. */
  #value(key: string): unknown {
    return this.json[key] ?? undefined;
  }

  #needs(key: string, value: unknown, what: string): FormatError {
    return new FormatError(
      `Cannot read ${this.name}: ${this.path}${key} is ${
        shown(value)
      }, needs ${what}`,
    );
  }
}

/** A value of a file as a message may show it. */
function shown(value: unknown): string {
  return value === undefined ? "missing" : printable(JSON.stringify(value));
}
