/** The values of a template, which are Python's, and what Python says of them. */
import type { Budget } from "./limits.ts";

/** Something that a template does wrong; its message becomes an error of the caller's. */
export class TemplateFault extends Error {}

/** A name or attribute that there is not. It is written as nothing; most other uses are faults. */
export class Undefined {
  constructor(readonly what: string) {}
  /** The error of using it. */
  get fault(): TemplateFault {
    return new TemplateFault(`${this.what} is undefined`);
  }
}
/** A number with a point, which JavaScript has no type for. Whole numbers are numbers. */
export class Float {
  constructor(readonly value: number) {}
}
/** A list that cannot be changed, written in parentheses. */
export class Tuple {
  constructor(
    readonly items: readonly Value[],
    /** Names by which items are attributes too */
    readonly names: readonly string[] = [],
  ) {}
}
/** What filters such as `map` give: run over once, and true even where it is empty. */
export class Iter {
  constructor(public items: readonly Value[], readonly name = "generator") {}
}
/** Keys, values or items of a dictionary. */
export class View {
  constructor(readonly name: string, readonly items: readonly Value[]) {}
}
/** Bytes, which no template can do much with. */
export class Bytes {
  constructor(readonly bytes: Uint8Array) {}
}
/** Something with attributes: a namespace, to which may be assigned, or a loop. */
export class Attributes {
  constructor(
    readonly name: string,
    readonly values: Map<string, Value>,
    readonly call?: (args: Args) => Value,
  ) {}
}
/** A function, a method or a macro. */
export class Callable {
  constructor(readonly name: string, readonly call: (args: Args) => Value) {}
}

/** Any value. A dictionary is a `Map`. */
export type Value =
  | Undefined
  | null
  | boolean
  | number
  | Float
  | string
  | readonly Value[]
  | Tuple
  | ReadonlyMap<Value, Value>
  | Iter
  | View
  | Bytes
  | Attributes
  | Callable;

/** A value that may not be there, or another in its place. None is a value. */
export function orElse(value: Value | undefined, other: Value): Value {
  return value === undefined ? other : value;
}

/** Arguments of a call, by position and by name. */
export class Args {
  constructor(
    readonly positional: readonly Value[] = [],
    readonly named: ReadonlyMap<string, Value> = new Map(),
  ) {}
  /** One of them; undefined where it is not given. */
  get(position: number, name: string): Value | undefined {
    return this.positional[position] ?? this.named.get(name) ??
      (position < this.positional.length ? null : undefined);
  }
  /** A number that may be left out. */
  number(position: number, name: string, otherwise: number): number {
    const value = this.get(position, name);
    if (value === undefined || value === null) return otherwise;
    return numberOf(value) ?? wrong(name, value);
  }
  /** A text that may be left out. */
  text(position: number, name: string): string | undefined {
    const value = this.get(position, name);
    if (value === undefined || value === null) return undefined;
    return typeof value === "string" ? value : wrong(name, value);
  }
  /** Whether a flag is set. */
  flag(position: number, name: string, otherwise = false): boolean {
    const value = this.get(position, name);
    return value === undefined ? otherwise : isTrue(value);
  }
  /** The arguments from a position on. */
  from(position: number): Args {
    return new Args(this.positional.slice(position), this.named);
  }
}

function wrong(name: string, value: Value): never {
  throw new TemplateFault(`argument ${name} is ${typeName(value)}`);
}

/** A value of JavaScript's, as JSON has them, as a template's. */
export function toValue(value: unknown): Value {
  switch (typeof value) {
    case "number":
      return Number.isInteger(value) ? value : new Float(value);
    case "string":
      return value.toWellFormed();
    case "boolean":
      return value;
    case "object":
      if (value === null) return null;
      if (value instanceof Callable) return value;
      if (Array.isArray(value)) return value.map(toValue);
      return new Map(
        Object.entries(value)
          .filter(([, each]) => each !== undefined)
          .map(([key, each]) => [key, toValue(each)]),
      );
    default:
      throw new TemplateFault(`a variable is a ${typeof value}`);
  }
}

/** Python's name of a value's type. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "number":
      return "int";
    case "string":
      return "str";
  }
  if (Array.isArray(value)) return "list";
  if (value instanceof Map) return "dict";
  if (value instanceof Float) return "float";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Bytes) return "bytes";
  if (value instanceof Callable) return "function";
  return (value as Iter | View | Attributes).name;
}

/** Whether a value counts as true. */
export function isTrue(value: Value): boolean {
  if (value instanceof Undefined || value === null) return false;
  if (value instanceof Float) return value.value !== 0;
  if (typeof value !== "object") return Boolean(value);
  if (value instanceof Iter) return true;
  return (lengthOf(value) ?? 1) > 0;
}

/** The number that a value is, or counts as. */
export function numberOf(value: Value): number | undefined {
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "number") return value;
  return value instanceof Float ? value.value : undefined;
}

/** The characters of a text, which for Python are code points. */
export function charactersOf(text: string): ArrayLike<string> {
  return /[\ud800-\udfff]/.test(text) ? Array.from(text) : text;
}

/** How many elements a value has; undefined where Python knows no length. */
export function lengthOf(value: Value): number | undefined {
  if (typeof value === "string") return charactersOf(value).length;
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  if (value instanceof Tuple || value instanceof View) {
    return value.items.length;
  }
  if (value instanceof Bytes) return value.bytes.length;
  return value instanceof Undefined ? 0 : undefined;
}

/** The items of a list or tuple, which can be told by position. */
export function itemsOf(value: Value): readonly Value[] | undefined {
  if (Array.isArray(value)) return value;
  return value instanceof Tuple ? value.items : undefined;
}

/** What a loop runs over; undefined where it cannot. An iterator is empty afterwards. */
export function elementsOf(value: Value): readonly Value[] | undefined {
  if (typeof value === "string") return Array.from(charactersOf(value));
  if (value instanceof Undefined) return [];
  if (value instanceof Map) return [...value.keys()];
  if (value instanceof View) return value.items;
  if (value instanceof Iter) {
    const { items } = value;
    value.items = [];
    return items;
  }
  return itemsOf(value);
}

/** What a filter runs over. */
export function elements(value: Value): readonly Value[] {
  const found = elementsOf(value);
  if (found) return found;
  throw new TemplateFault(`'${typeName(value)}' object is not iterable`);
}

/** Python's float: the fewest digits, with an exponent where it is large or small. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e16 || size < 1e-4)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** A text in quotes, as Python shows it. */
export function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const names: Record<string, string> = {
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\\": "\\\\",
    [quote]: `\\${quote}`,
  };
  const inside = text.replace(
    /[\\'"]|(?! )[\p{Z}\p{C}]/gu,
    (character) => {
      if (character in names) return names[character];
      if (character === "'" || character === '"') return character;
      const code = character.codePointAt(0)!;
      const hex = code.toString(16);
      if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
      return code < 0x10000
        ? `\\u${hex.padStart(4, "0")}`
        : `\\U${hex.padStart(8, "0")}`;
    },
  );
  return quote + inside + quote;
}

/** A text that grows within the limits. */
class Writer {
  readonly #parts: string[] = [];
  #length = 0;
  constructor(readonly budget: Budget) {}
  write(part: string): void {
    this.budget.tick();
    this.#length += part.length;
    this.budget.text(this.#length);
    this.#parts.push(part);
  }
  get text(): string {
    this.budget.spend(this.#length);
    return this.#parts.join("");
  }
}

/** A value as it is written into the text. */
export function textOf(value: Value, budget: Budget): string {
  if (typeof value === "string") return value;
  if (value instanceof Undefined) return "";
  return shown(value, budget);
}

/** A value as Python shows it: texts in quotes. */
export function shown(value: Value, budget: Budget): string {
  const writer = new Writer(budget);
  show(value, writer);
  return writer.text;
}

function show(value: Value, writer: Writer): void {
  const list = (open: string, items: readonly Value[], close: string) => {
    writer.write(open);
    items.forEach((item, i) => {
      if (i > 0) writer.write(", ");
      show(item, writer);
    });
    writer.write(close);
  };
  if (value === null) writer.write("None");
  else if (value === true) writer.write("True");
  else if (value === false) writer.write("False");
  else if (typeof value === "number") writer.write(String(value));
  else if (typeof value === "string") writer.write(quoted(value));
  else if (value instanceof Float) writer.write(floatText(value.value));
  else if (Array.isArray(value)) list("[", value, "]");
  else if (value instanceof Tuple) {
    list("(", value.items, value.items.length === 1 ? ",)" : ")");
  } else if (value instanceof View) {
    list(`${value.name}([`, value.items, "])");
  } else if (value instanceof Map) {
    writer.write("{");
    let isFirst = true;
    for (const [key, each] of value) {
      if (!isFirst) writer.write(", ");
      isFirst = false;
      show(key, writer);
      writer.write(": ");
      show(each, writer);
    }
    writer.write("}");
  } else if (value instanceof Bytes) {
    const latin1 = String.fromCharCode(...value.bytes.subarray(0, 1 << 12));
    writer.write(`b${quoted(latin1).replace(/[\x80-\xff]/g, escapedByte)}`);
  } else if (value instanceof Undefined) writer.write("Undefined");
  else writer.write(`<${typeName(value)} object>`);
}

function escapedByte(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16)}`;
}

/** How JSON is written. */
export interface JsonStyle {
  /** What lines are indented by; undefined: all in one line */
  readonly indent?: string;
  readonly separators: readonly [item: string, key: string];
  readonly sortKeys: boolean;
  readonly ensureAscii: boolean;
}

/** A value as Python's `json.dumps` writes it. */
export function toJson(value: Value, style: JsonStyle, budget: Budget): string {
  const writer = new Writer(budget);
  writeJson(value, style, writer, "\n");
  return writer.text;
}

function writeJson(
  value: Value,
  style: JsonStyle,
  writer: Writer,
  line: string,
): void {
  const [between, colon] = style.separators;
  const inside = style.indent === undefined ? "" : line + style.indent;
  const all = (open: string, parts: (() => void)[], close: string) => {
    writer.write(open);
    parts.forEach((write, i) => {
      writer.write((i > 0 ? between : "") + inside);
      write();
    });
    if (parts.length > 0 && style.indent !== undefined) writer.write(line);
    writer.write(close);
  };
  const items = itemsOf(value);
  if (value === null || typeof value === "boolean") {
    writer.write(String(value));
  } else if (typeof value === "number") writer.write(String(value));
  else if (value instanceof Float) {
    const names: Record<string, string> = {
      nan: "NaN",
      inf: "Infinity",
      "-inf": "-Infinity",
    };
    const text = floatText(value.value);
    writer.write(names[text] ?? text);
  } else if (typeof value === "string") writer.write(jsonText(value, style));
  else if (items) {
    const parts = items.map((item) => () =>
      writeJson(item, style, writer, inside)
    );
    all("[", parts, "]");
  } else if (value instanceof Map) {
    const entries = [...value].map(([key, each]) =>
      [jsonKey(key, writer.budget), each] as const
    );
    if (style.sortKeys) {
      entries.sort(([a], [b]) => compareTexts(a, b));
    }
    const parts = entries.map(([key, each]) => () => {
      writer.write(jsonText(key, style) + colon);
      writeJson(each, style, writer, inside);
    });
    all("{", parts, "}");
  } else {
    throw new TemplateFault(
      `Object of type ${typeName(value)} is not JSON serializable`,
    );
  }
}

function jsonKey(key: Value, budget: Budget): string {
  if (typeof key === "boolean" || key === null) return String(key);
  return textOf(key, budget);
}

function jsonText(text: string, { ensureAscii }: JsonStyle): string {
  const written = JSON.stringify(text);
  return ensureAscii
    ? written.replace(
      /[\x7f-\uffff]/g,
      (unit) =>
        unit === "\x7f"
          ? unit
          : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
    )
    : written;
}

/** Whether two values are equal. */
export function equals(a: Value, b: Value, budget: Budget): boolean {
  budget.tick();
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined || y !== undefined) return x === y;
  if (typeof a === "string" && typeof b === "string") {
    if (a.length === b.length) budget.spend(a.length);
    return a === b;
  }
  if (a instanceof Undefined) return b instanceof Undefined;
  const [left, right] = [itemsOf(a), itemsOf(b)];
  if (left && right) {
    return typeName(a) === typeName(b) && left.length === right.length &&
      left.every((item, i) => equals(item, right[i], budget));
  }
  if (a instanceof Map && b instanceof Map) {
    return a.size === b.size &&
      [...a].every(([key, value]) =>
        b.has(key) && equals(value, b.get(key)!, budget)
      );
  }
  return a === b;
}

/** Texts by code points; those of UTF-16 have another order. */
function compareTexts(a: string, b: string): number {
  const [left, right] = [charactersOf(a), charactersOf(b)];
  const length = Math.min(left.length, right.length);
  for (let i = 0; i < length; i++) {
    if (left[i] !== right[i]) {
      return left[i].codePointAt(0)! - right[i].codePointAt(0)!;
    }
  }
  return left.length - right.length;
}

/** Which of two values comes first: below 0 the first. */
export function compare(a: Value, b: Value, budget: Budget): number {
  budget.tick();
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a === "string" && typeof b === "string") {
    budget.spend(Math.min(a.length, b.length));
    return compareTexts(a, b);
  }
  const [left, right] = [itemsOf(a), itemsOf(b)];
  if (left && right && typeName(a) === typeName(b)) {
    for (let i = 0; i < Math.min(left.length, right.length); i++) {
      const order = compare(left[i], right[i], budget);
      if (order !== 0) return order;
    }
    return left.length - right.length;
  }
  for (const each of [a, b]) if (each instanceof Undefined) throw each.fault;
  throw new TemplateFault(
    `'<' not supported between instances of '${typeName(a)}' and '${
      typeName(b)
    }'`,
  );
}

/** Whether a value is in another. */
export function contains(whole: Value, part: Value, budget: Budget): boolean {
  if (typeof whole === "string") {
    if (typeof part !== "string") {
      if (part instanceof Undefined) throw part.fault;
      throw new TemplateFault(
        `'in <string>' requires string as left operand, not ${typeName(part)}`,
      );
    }
    budget.spend(part.length * whole.length);
    return whole.includes(part);
  }
  if (whole instanceof Map) {
    return whole.has(part instanceof Float ? part.value : part);
  }
  return elements(whole).some((each) => equals(each, part, budget));
}
