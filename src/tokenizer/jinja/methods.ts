/** Methods of Python's texts, lists and dictionaries, as far as they change nothing. */
import type { Budget } from "./limits.ts";
import { formatBraces } from "./format.ts";
import {
  type Args,
  Attributes,
  Bytes,
  Callable,
  charactersOf,
  elements,
  equals,
  lengthOf,
  TemplateFault,
  textOf,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";

/** White space for Python: Unicode's, and separators of old. */
const space = String.raw`[\s\x1c-\x1f\x85]`;
const leading = new RegExp(`^${space}+`);
const trailing = new RegExp(`${space}+$`);

/** A text without the characters at its ends; by default without white space. */
export function stripped(
  text: string,
  characters: string | undefined,
  ends: "both" | "left" | "right" = "both",
): string {
  if (characters === undefined) {
    if (ends !== "right") text = text.replace(leading, "");
    return ends === "left" ? text : trimEnd(text);
  }
  const set = new Set(characters);
  const all = Array.from(text);
  let [begin, end] = [0, all.length];
  while (ends !== "right" && begin < end && set.has(all[begin])) begin++;
  while (ends !== "left" && end > begin && set.has(all[end - 1])) end--;
  return all.slice(begin, end).join("");
}

/** A regular expression would look for an end from every blank. */
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && trailing.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** How often a text has a part; the empty one is between all characters. */
function count(text: string, part: string): number {
  if (part === "") return charactersOf(text).length + 1;
  let found = 0;
  for (let at = text.indexOf(part); at >= 0; found++) {
    at = text.indexOf(part, at + part.length);
  }
  return found;
}

/** Python's `replace`. */
export function replaced(
  text: string,
  old: string,
  by: string,
  most: number,
  budget: Budget,
): string {
  budget.spend(text.length * Math.max(1, old.length));
  let left = most < 0 ? Infinity : most;
  const found = Math.min(left, count(text, old));
  const length = text.length + found * (by.length - old.length);
  budget.text(length);
  budget.spend(length);
  if (left === Infinity && old !== "") return text.replaceAll(old, () => by);
  if (old === "") {
    const parts = Array.from(text);
    const made = parts.map((part) => left-- > 0 ? by + part : part).join("");
    return left > 0 ? made + by : made;
  }
  const parts = text.split(old);
  const rest = parts.splice(found + 1);
  return [parts.join(by), ...rest].join(old);
}

function split(
  text: string,
  separator: string | undefined,
  most: number,
  fromRight: boolean,
  budget: Budget,
): string[] {
  if (separator === "") throw new TemplateFault("empty separator");
  if (separator === undefined) {
    budget.spend(text.length);
    const words = new RegExp(`[^\\s\\x1c-\\x1f\\x85]+`, "g");
    let found = 0;
    while (words.test(text)) found++;
    budget.list(found);
    if (most < 0 || found <= most) return text.match(words) ?? [];
    const all = [...text.matchAll(words)];
    if (fromRight) {
      const first = all[found - most - 1];
      const head = text.slice(0, first.index + first[0].length);
      const tail = all.slice(found - most).map(([word]) => word);
      return [head, ...tail];
    }
    const next = all[most];
    return [
      ...all.slice(0, most).map(([word]) => word),
      text.slice(next.index),
    ];
  }
  budget.spend(text.length * separator.length);
  budget.list(count(text, separator));
  const parts = text.split(separator);
  if (most < 0 || parts.length <= most + 1) return parts;
  if (!fromRight) {
    return [...parts.slice(0, most), parts.slice(most).join(separator)];
  }
  const head = parts.slice(0, parts.length - most).join(separator);
  return [head, ...parts.slice(parts.length - most)];
}

/** What ends a line for Python. */
const lineEnd = String.raw`\n\r\v\f\x1c-\x1e\x85\u2028\u2029`;
const line = new RegExp(
  `[^${lineEnd}]*(?:\\r\\n|[${lineEnd}])|[^${lineEnd}]+$`,
  "g",
);
const endOfLine = new RegExp(`(?:\\r\\n|[${lineEnd}])$`);

function lines(text: string, keepsEnds: boolean, budget: Budget): string[] {
  const found = text.match(line) ?? [];
  budget.list(found.length);
  return keepsEnds ? found : found.map((line) => line.replace(endOfLine, ""));
}

/** Python's `title`: letters behind others are small. */
function titleOf(text: string): string {
  return text.replace(
    /\p{L}+/gu,
    (word) => {
      const [first, ...rest] = word;
      return first.toUpperCase() + rest.join("").toLowerCase();
    },
  );
}

/** The first character large, the others small. */
export function capitalized(text: string): string {
  const [first = "", ...rest] = text;
  return first.toUpperCase() + rest.join("").toLowerCase();
}

/** A text with as many blanks on either side. */
export function padTo(
  text: string,
  width: number,
  fill: string,
  align: "left" | "right" | "center",
  budget: Budget,
): string {
  const lacking = Math.max(0, width - charactersOf(text).length);
  budget.text(text.length + lacking);
  budget.spend(lacking);
  // An odd blank goes where Python puts it.
  const before = align === "left"
    ? 0
    : align === "right"
    ? lacking
    : Math.floor(lacking / 2) + (lacking & width & 1);
  return fill.repeat(before) + text + fill.repeat(lacking - before);
}

function affix(args: Args, test: (part: string) => boolean): boolean {
  const [affix] = args.positional;
  const all = affix instanceof Tuple ? affix.items : [affix ?? null];
  return all.some((each) => {
    if (typeof each === "string") return test(each);
    throw new TemplateFault(
      `first arg must be str or a tuple of str, not ${typeName(each)}`,
    );
  });
}

type TextMethod = (text: string, args: Args, budget: Budget) => Value;

function part(args: Args, name: string): string {
  const text = args.text(0, name);
  if (text !== undefined) return text;
  throw new TemplateFault(`argument ${name} must be str`);
}

/** Where a part is, in characters; `text` may be cut at both ends by the arguments. */
function find(
  text: string,
  args: Args,
  budget: Budget,
  isLast = false,
): number {
  const needle = part(args, "sub");
  budget.spend(text.length * Math.max(1, needle.length));
  const all = charactersOf(text);
  const bound = (i: number, otherwise: number) => {
    const at = args.number(i, "", otherwise);
    return Math.min(all.length, Math.max(0, at < 0 ? at + all.length : at));
  };
  const [start, end] = [bound(1, 0), bound(2, all.length)];
  const within = Array.prototype.slice.call(all, start, end).join("");
  const at = isLast ? within.lastIndexOf(needle) : within.indexOf(needle);
  return at < 0 ? -1 : start + charactersOf(within.slice(0, at)).length;
}

function partition(text: string, args: Args, isLast: boolean): Tuple {
  const separator = part(args, "sep");
  const at = isLast ? text.lastIndexOf(separator) : text.indexOf(separator);
  if (at < 0) return new Tuple(isLast ? ["", "", text] : [text, "", ""]);
  const end = at + separator.length;
  return new Tuple([text.slice(0, at), separator, text.slice(end)]);
}

/** Whether all characters are of a class, and there is one. */
const areAll = (pattern: RegExp): TextMethod => (text) => pattern.test(text);
const pad =
  (align: "left" | "right" | "center"): TextMethod => (text, args, budget) =>
    padTo(
      text,
      args.number(0, "width", 0),
      args.text(1, "fillchar") ?? " ",
      align,
      budget,
    );
const splitting = (fromRight: boolean): TextMethod => (text, args, budget) =>
  split(
    text,
    args.text(0, "sep"),
    args.number(1, "maxsplit", -1),
    fromRight,
    budget,
  );
const stripping =
  (ends: "both" | "left" | "right"): TextMethod => (text, args) =>
    stripped(text, args.text(0, "chars"), ends);
const indexing = (isLast: boolean): TextMethod => (text, args, budget) => {
  const at = find(text, args, budget, isLast);
  if (at < 0) throw new TemplateFault("substring not found");
  return at;
};

const textMethods: Readonly<Record<string, TextMethod>> = {
  upper: (text) => text.toUpperCase(),
  lower: (text) => text.toLowerCase(),
  casefold: (text) => text.toLowerCase().replaceAll("\xdf", "ss"),
  title: titleOf,
  capitalize: capitalized,
  swapcase: (text) =>
    Array.from(text, (character) => {
      const upper = character.toUpperCase();
      return character === upper ? character.toLowerCase() : upper;
    }).join(""),
  strip: stripping("both"),
  lstrip: stripping("left"),
  rstrip: stripping("right"),
  split: splitting(false),
  rsplit: splitting(true),
  splitlines: (text, args, budget) =>
    lines(text, args.flag(0, "keepends"), budget),
  partition: (text, args) => partition(text, args, false),
  rpartition: (text, args) => partition(text, args, true),
  replace: (text, args, budget) =>
    replaced(
      text,
      part(args, "old"),
      part(args.from(1), "new"),
      args.number(2, "count", -1),
      budget,
    ),
  startswith: (text, args) => affix(args, (part) => text.startsWith(part)),
  endswith: (text, args) => affix(args, (part) => text.endsWith(part)),
  removeprefix: (text, args) => {
    const prefix = part(args, "prefix");
    return text.startsWith(prefix) ? text.slice(prefix.length) : text;
  },
  removesuffix: (text, args) => {
    const suffix = part(args, "suffix");
    return suffix !== "" && text.endsWith(suffix)
      ? text.slice(0, -suffix.length)
      : text;
  },
  find: (text, args, budget) => find(text, args, budget),
  rfind: (text, args, budget) => find(text, args, budget, true),
  index: indexing(false),
  rindex: indexing(true),
  count: (text, args, budget) => {
    const sub = part(args, "sub");
    budget.spend(text.length * Math.max(1, sub.length));
    return count(text, sub);
  },
  join: (text, args, budget) =>
    joined(elements(args.positional[0] ?? null), text, budget, true),
  format: formatBraces,
  encode: (text) => new Bytes(new TextEncoder().encode(text)),
  center: pad("center"),
  ljust: pad("left"),
  rjust: pad("right"),
  zfill: (text, args, budget) => {
    const [, sign, rest] = /^([-+]?)([^]*)$/.exec(text)!;
    const width = args.number(0, "width", 0) - sign.length;
    return sign + padTo(rest, width, "0", "right", budget);
  },
  expandtabs: (text, args, budget) => {
    const size = args.number(0, "tabsize", 8);
    budget.text(text.length * Math.max(1, size));
    let column = 0;
    return Array.from(text, (character) => {
      if (character === "\n" || character === "\r") column = -1;
      const width = character === "\t" ? size - column % size : 1;
      column += width;
      return character === "\t" ? " ".repeat(width) : character;
    }).join("");
  },
  isdigit: areAll(/^[\p{Nd}\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089]+$/u),
  isdecimal: areAll(/^\p{Nd}+$/u),
  isnumeric: areAll(/^\p{N}+$/u),
  isalpha: areAll(/^\p{L}+$/u),
  isalnum: areAll(/^[\p{L}\p{N}]+$/u),
  isspace: areAll(new RegExp(`^${space}+$`)),
  isascii: (text) => !/[^\0-\x7f]/.test(text),
  isidentifier: areAll(/^[\p{L}\p{Nl}_][\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}]*$/u),
  isupper: (text) => text === text.toUpperCase() && text !== text.toLowerCase(),
  islower: (text) => text === text.toLowerCase() && text !== text.toUpperCase(),
  istitle: (text) => /\p{L}/u.test(text) && text === titleOf(text),
};

/** Values as texts with one between them; Python's method takes texts alone, Jinja's filter all. */
export function joined(
  items: readonly Value[],
  between: string,
  budget: Budget,
  isStrict: boolean,
): string {
  budget.text(Math.max(0, items.length - 1) * between.length);
  let length = 0;
  const texts = items.map((item) => {
    if (isStrict && typeof item !== "string") {
      throw new TemplateFault(
        `join expected str instances, ${typeName(item)} found`,
      );
    }
    const text = textOf(item, budget);
    budget.text(length += text.length + between.length);
    return text;
  });
  budget.spend(length);
  return texts.join(between);
}

type MapMethod = (map: ReadonlyMap<Value, Value>, args: Args) => Value;

const dictMethods: Readonly<Record<string, MapMethod>> = {
  get: (map, args) =>
    map.get(args.positional[0] ?? null) ??
      (map.has(args.positional[0] ?? null) ? null : args.get(1, "default")) ??
      null,
  keys: (map) => new View("dict_keys", [...map.keys()]),
  values: (map) => new View("dict_values", [...map.values()]),
  items: (map) =>
    new View("dict_items", [...map].map((pair) => new Tuple(pair))),
  copy: (map) => new Map(map),
};

const listMethods: Readonly<
  Record<string, (items: readonly Value[], args: Args, budget: Budget) => Value>
> = {
  index: (items, args, budget) => {
    const wanted = args.positional[0] ?? null;
    const at = items.findIndex((item) => equals(item, wanted, budget));
    if (at < 0) throw new TemplateFault("the list does not have this value");
    return at;
  },
  count: (items, args, budget) =>
    items.filter((item) => equals(item, args.positional[0] ?? null, budget))
      .length,
  copy: (items) => [...items],
};

/** A method of a value; undefined where it has none of this name. */
export function methodOf(
  value: Value,
  name: string,
  budget: Budget,
): Callable | undefined {
  const own = <T>(methods: Readonly<Record<string, T>>): T | undefined =>
    Object.hasOwn(methods, name) ? methods[name] : undefined;
  const callable = (run: (args: Args) => Value) =>
    new Callable(name, (args) => {
      budget.spend(lengthOf(value) ?? 1);
      const result = run(args);
      if (typeof result === "string") {
        budget.text(result.length);
        budget.spend(result.length);
      }
      if (Array.isArray(result)) budget.spendElements(result.length);
      return result;
    });
  if (typeof value === "string") {
    const method = own(textMethods);
    return method && callable((args) => method(value, args, budget));
  }
  if (value instanceof Map) {
    const method = own(dictMethods);
    return method && callable((args) => method(value, args));
  }
  const items = value instanceof Tuple ? value.items : value;
  if (!Array.isArray(items)) return undefined;
  const method = name === "copy" && value instanceof Tuple
    ? undefined
    : own(listMethods);
  return method && callable((args) => method(items, args, budget));
}

/** Calls a value. */
export function callValue(value: Value, args: Args): Value {
  if (value instanceof Callable) return value.call(args);
  if (value instanceof Attributes && value.call) return value.call(args);
  if (value instanceof Undefined) throw value.fault;
  throw new TemplateFault(`'${typeName(value)}' object is not callable`);
}
