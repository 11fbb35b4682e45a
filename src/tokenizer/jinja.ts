import { Environment, parse, tokenize } from "@huggingface/jinja";
import {
  CulmError,
  FormatError,
  LimitError,
  UnsupportedError,
  UsageError,
} from "../errors.ts";
import { BoundedInterpreter, checkSize, MAX_SIZE } from "./jinja_limits.ts";

/** Longest template, in UTF-16 units. Real ones stay below 40,000. */
const MAX_LENGTH = 1 << 18;
/**
 * Longest run of white space in a template. The parser's time grows with the
 * square of this.
 */
const MAX_BLANK = 1 << 10;

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
  // Names of months and days take far longer to find than to write.
  const written: Record<string, string> = {};
  return format.replace(
    /%([YmdbBaAHMS%])/g,
    (_, name) => written[name] ??= directives[name](time),
  );
}
