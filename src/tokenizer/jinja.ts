import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import {
  CulmError,
  FormatError,
  LimitError,
  UnsupportedError,
  UsageError,
} from "../errors.ts";

type Value = ReturnType<Interpreter["evaluate"]>;

/** Longest template, in UTF-16 units. Real ones stay below 40,000. */
const MAX_LENGTH = 1 << 18;
/**
 * Longest run of white space in a template. The parser's time grows with the
 * square of this.
 */
const MAX_BLANK = 1 << 10;
/** Time that one rendering may take, in milliseconds. A long chat takes some ten. */
const MAX_TIME = 3000;
/** Characters that count as much as a list element. */
const CHARACTERS_PER_ELEMENT = 64;
/** Longest text that a template may make, in UTF-16 units. */
const MAX_TEXT = 1 << 22;
/** Largest list or dictionary, with all that it holds, however often it holds it. */
const MAX_SIZE = 1 << 17;

/**
 * A Jinja template. Templates come with model files, so from strangers: sizes
 * and time are limited, and nothing but the variables is in reach.
 */
export class JinjaTemplate {
  readonly #program: ReturnType<typeof parse>;

  /**
   * Parses a template, with blocks trimmed as Hugging Face's Transformers does.
   *
   * @throws {FormatError} The template is not Jinja.
   * @throws {LimitError} The template is too long.
   */
  constructor(source: string) {
    const blank = (source.match(/\s+/g) ?? [])
      .reduce((longest, run) => Math.max(longest, run.length), 0);
    if (source.length > MAX_LENGTH || blank > MAX_BLANK) {
      throw new LimitError(
        `Cannot read the chat template: it has ${source.length} characters and ${blank} blanks in a row, the limits are ${MAX_LENGTH} and ${MAX_BLANK}`,
      );
    }
    try {
      this.#program = parse(
        tokenize(source, { lstrip_blocks: true, trim_blocks: true }),
      );
    } catch (error) {
      throw new FormatError(
        `Cannot read the chat template: ${describe(error)}`,
      );
    }
  }

  /**
   * Writes the text that the template makes of the variables.
   *
   * @throws {UsageError} The template refuses the variables.
   * @throws {UnsupportedError} The template needs something that is not known here.
   * @throws {LimitError} The template runs for too long, or makes too large a value.
   */
  render(variables: Readonly<Record<string, unknown>>): string {
    const environment = new Environment();
    try {
      for (
        const [name, value] of Object.entries({ ...globals, ...variables })
      ) environment.set(name, value);
      const interpreter = new BoundedInterpreter(environment);
      return String(interpreter.run(this.#program).value);
    } catch (error) {
      if (error instanceof CulmError) throw error;
      throw new UnsupportedError(`Cannot write the chat: ${describe(error)}`);
    }
  }
}

/** An error of the engine, in one line. */
function describe(error: unknown): string {
  // The engine walks the template by recursion, which ends in a RangeError.
  if (error instanceof RangeError) {
    return "the template nests too deeply or makes too long a text";
  }
  return oneLine(error instanceof Error ? error.message : String(error));
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim().slice(0, 300);
}

/** What templates find besides their variables. Jinja spells constants both ways. */
const globals: Readonly<Record<string, unknown>> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  raise_exception: (message: unknown) => {
    throw new UsageError(`Cannot write the chat: ${oneLine(String(message))}`);
  },
  range,
  strftime_now: (format: unknown) => formatTime(new Date(), String(format)),
};

/** Stops a template that makes too large values or does not end. */
class BoundedInterpreter extends Interpreter {
  readonly #deadline = performance.now() + MAX_TIME;
  readonly #sizes = new WeakMap<Value, number>();

  override evaluate(...parameters: Parameters<Interpreter["evaluate"]>): Value {
    if (performance.now() > this.#deadline) {
      throw new LimitError(
        `Cannot write the chat: its template has not ended after ${MAX_TIME} ms`,
      );
    }
    const result = super.evaluate(...parameters);
    if (typeof result.value === "string") {
      checkSize("a text", result.value.length, MAX_TEXT);
    } else if (elementsOf(result)) this.#checkTree(result, { size: 0 });
    return result;
  }

  /**
   * Adds a value and all that it holds to `total`. A list that holds another
   * list twice, and so on, would fill the memory once it is written out.
   *
   * @returns Whether the size cannot change: only a namespace can be assigned to.
   */
  #checkTree(value: Value, total: { size: number }): boolean {
    const known = this.#sizes.get(value);
    if (known !== undefined) {
      total.size += known;
      checkSize("a list", total.size, MAX_SIZE);
      return true;
    }
    const before = total.size;
    total.size += typeof value.value === "string"
      ? 1 + value.value.length / CHARACTERS_PER_ELEMENT
      : 1;
    checkSize("a list", total.size, MAX_SIZE);
    let isFixed = value.type !== "NamespaceValue";
    for (const element of elementsOf(value) ?? []) {
      if (!this.#checkTree(element, total)) isFixed = false;
    }
    if (isFixed) this.#sizes.set(value, total.size - before);
    return isFixed;
  }
}

/** What a list, dictionary or namespace holds. */
function elementsOf(value: Value): Iterable<Value> | undefined {
  if (Array.isArray(value.value)) return value.value;
  return value.value instanceof Map ? value.value.values() : undefined;
}

function checkSize(what: string, size: number, limit: number): void {
  if (size > limit) {
    throw new LimitError(
      `Cannot write the chat: its template makes ${what} of size ${
        Math.ceil(size)
      }, the limit is ${limit}`,
    );
  }
}

/** Python's `range`. */
function range(start: number, stop?: number, step = 1): number[] {
  if (stop === undefined) [start, stop] = [0, start];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!Number.isFinite(length)) {
    throw new Error(`range(${start}, ${stop}, ${step}) has no end`);
  }
  checkSize("a list", length, MAX_SIZE);
  return Array.from({ length }, (_, i) => start + i * step);
}

const english = (options: Intl.DateTimeFormatOptions) => (time: Date) =>
  time.toLocaleString("en", options);
const twoDigits = (value: number) => String(value).padStart(2, "0");

/** Directives of Python's `strftime`, in English as in Python's default locale. */
const directives: Readonly<Record<string, (time: Date) => string>> = {
  Y: (time) => String(time.getFullYear()),
  m: (time) => twoDigits(time.getMonth() + 1),
  d: (time) => twoDigits(time.getDate()),
  b: english({ month: "short" }),
  B: english({ month: "long" }),
  a: english({ weekday: "short" }),
  A: english({ weekday: "long" }),
  H: (time) => twoDigits(time.getHours()),
  M: (time) => twoDigits(time.getMinutes()),
  S: (time) => twoDigits(time.getSeconds()),
  "%": () => "%",
};

function formatTime(time: Date, format: string): string {
  return format.replace(
    /%([YmdbBaAHMS%])/g,
    (_, name) => directives[name](time),
  );
}
