import {
  CulmError,
  FormatError,
  LimitError,
  UnsupportedError,
  UsageError,
} from "../../errors.ts";
import { Budget } from "./limits.ts";
import { parseTemplate, Scope } from "./parser.ts";
import { formatTime } from "./time.ts";
import {
  type Args,
  Attributes,
  Callable,
  elements,
  itemsOf,
  numberOf,
  TemplateFault,
  textOf,
  toValue,
  type Value,
} from "./values.ts";

/** Longest template, in UTF-16 units. Real ones stay below 40,000. */
const MAX_LENGTH = 1 << 18;

/**
 * A Jinja template, as Hugging Face's Transformers renders it: in a sandbox of
 * values that cannot be changed, with blocks trimmed. Templates come with model
 * files, so from strangers: sizes and time are limited, and nothing but the
 * variables is in reach.
 */
export class JinjaTemplate {
  readonly #render: (scope: Scope) => string;

  /**
   * Parses a template.
   *
   * @throws {FormatError} The template is not Jinja.
   * @throws {LimitError} The template is too long.
   */
  constructor(source: string) {
    if (source.length > MAX_LENGTH) {
      throw new LimitError(
        `Cannot read the chat template: it has ${source.length} characters, the limit is ${MAX_LENGTH}`,
      );
    }
    try {
      this.#render = parseTemplate(source);
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
    const budget = new Budget();
    const globals = new Scope(budget);
    const scope = new Scope(budget, globals);
    try {
      for (const [name, value] of globalsOf(budget)) globals.set(name, value);
      for (const [name, value] of Object.entries(variables)) {
        if (value !== undefined) scope.set(name, toValue(value));
      }
      return this.#render(scope);
    } catch (error) {
      if (error instanceof CulmError) throw error;
      throw new UnsupportedError(`Cannot write the chat: ${describe(error)}`);
    }
  }
}

/** An error in one line. */
function describe(error: unknown): string {
  // The template is walked by recursion, which ends in a RangeError.
  if (error instanceof RangeError) {
    return "the template nests too deeply or makes too long a text";
  }
  return oneLine(error instanceof Error ? error.message : String(error));
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim().slice(0, 300);
}

/** What templates find besides their variables. */
function globalsOf(budget: Budget): [string, Value][] {
  const functions: Record<string, (args: Args) => Value> = {
    raise_exception: ({ positional }) => {
      const message = textOf(positional[0] ?? null, budget);
      throw new UsageError(`Cannot write the chat: ${oneLine(message)}`);
    },
    strftime_now: (args) => {
      const text = formatTime(new Date(), args.text(0, "format") ?? "");
      budget.text(text.length);
      return text;
    },
    range: (args) => range(args, budget),
    dict: (args) => dict(args),
    namespace: (args) => {
      const values = [...dict(args)].map(([key, value]) =>
        [String(key), value] as const
      );
      return new Attributes("namespace", new Map(values));
    },
    cycler: ({ positional }) => {
      let at = 0;
      const values = new Map<string, Value>();
      const move = (next: number) => {
        at = next % positional.length;
        values.set("current", positional[at]);
      };
      move(0);
      values.set(
        "next",
        new Callable("next", () => {
          const value = positional[at];
          move(at + 1);
          return value;
        }),
      );
      values.set("reset", new Callable("reset", () => (move(0), null)));
      return new Attributes("Cycler", values);
    },
    joiner: (args) => {
      const between = args.text(0, "sep") ?? ", ";
      let isFirst = true;
      return new Callable("joiner", () => {
        const text = isFirst ? "" : between;
        isFirst = false;
        return text;
      });
    },
    lipsum: () => {
      throw new TemplateFault("lipsum is not there: its text is random");
    },
  };
  return Object.entries(functions)
    .map(([name, call]) => [name, new Callable(name, call)]);
}

/** Python's `range`. */
function range(args: Args, budget: Budget): Value {
  const bounds = args.positional.map((each) => {
    if (typeof each === "number" || typeof each === "boolean") {
      return numberOf(each)!;
    }
    throw new TemplateFault("range takes integers");
  });
  const [start, stop, step = 1] = bounds.length < 2 ? [0, ...bounds] : bounds;
  if (stop === undefined || step === 0) {
    throw new TemplateFault("range takes an end, and no step of 0");
  }
  const length = Math.max(0, Math.ceil((stop - start) / step));
  budget.list(length);
  budget.spendElements(length);
  return Array.from({ length }, (_, i) => start + i * step);
}

/** Python's `dict`: of another one or of pairs, and of named arguments. */
function dict({ positional, named }: Args): Map<Value, Value> {
  const [source = []] = positional as readonly [Value?];
  const pairs = source instanceof Map
    ? [...source]
    : elements(source).map((pair) => itemsOf(pair) ?? []);
  const map = new Map<Value, Value>();
  for (const [key, value] of pairs) map.set(key, value);
  for (const [key, value] of named) map.set(key, value);
  return map;
}
