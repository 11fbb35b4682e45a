/** Jinja's filters and tests, and the one that Hugging Face's Transformers replaces. */
import type { Budget } from "./limits.ts";
import { formatPercent } from "./format.ts";
import { capitalized, joined, padTo, replaced, stripped } from "./methods.ts";
import { attribute, item, sizeOf } from "./operators.ts";
import {
  Args,
  Callable,
  charactersOf,
  compare,
  contains,
  elements,
  elementsOf,
  equals,
  Float,
  isTrue,
  itemsOf,
  Iter,
  lengthOf,
  numberOf,
  orElse,
  shown,
  TemplateFault,
  textOf,
  toJson,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** What is done with a value; the arguments are those in parentheses. */
type Filter = (value: Value, args: Args, budget: Budget) => Value;

/** Whether something holds of a value. */
type Test = (value: Value, args: Args, budget: Budget) => boolean;

function escaped(text: string): string {
  const names: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "'": "&#39;",
    '"': "&#34;",
  };
  return text.replace(/[&<>'"]/g, (character) => names[character]);
}

/** Reads an attribute of each element, by a name with points or an index. */
function getter(
  name: Value | undefined,
  budget: Budget,
  otherwise?: Value,
): (value: Value) => Value {
  if (name === undefined || name === null) return (value) => value;
  const parts = typeof name === "string"
    ? name.split(".").map((part) => /^\d+$/.test(part) ? Number(part) : part)
    : [name];
  return (value) => {
    budget.spend(parts.length);
    for (const part of parts) {
      value = item(value, part, budget);
      if (value instanceof Undefined && otherwise !== undefined) {
        value = otherwise;
      }
    }
    return value;
  };
}

/** Texts without regard to case, unless it counts. */
function folded(value: Value, isExact: boolean): Value {
  return typeof value === "string" && !isExact ? value.toLowerCase() : value;
}

function sorted(
  values: readonly Value[],
  key: (value: Value) => Value,
  isReversed: boolean,
  budget: Budget,
): Value[] {
  budget.spendElements(values.length * Math.log2(values.length + 1));
  const keyed = values.map((value) => ({ value, key: key(value) }));
  keyed.sort((a, b) =>
    isReversed ? compare(b.key, a.key, budget) : compare(a.key, b.key, budget)
  );
  return keyed.map(({ value }) => value);
}

const extreme = (sign: 1 | -1): Filter => (value, args, budget) => {
  const get = getter(args.get(1, "attribute"), budget);
  const isExact = args.flag(0, "case_sensitive");
  let found: { value: Value; key: Value } | undefined;
  for (const each of elements(value)) {
    const key = folded(get(each), isExact);
    if (!found || sign * compare(key, found.key, budget) > 0) {
      found = { value: each, key };
    }
  }
  return orElse(found?.value, new Undefined("the end of an empty sequence"));
};

/** `select` and the like: a test of each element, or of its attribute. */
function selecting(isWanted: boolean, byAttribute: boolean): Filter {
  return (value, args, budget) => {
    const [name, ...rest] = args.positional.slice(byAttribute ? 1 : 0);
    const get = getter(byAttribute ? args.positional[0] : undefined, budget);
    const test = name === undefined
      ? isTrue
      : testNamed(textOf(name, budget), new Args(rest, args.named), budget);
    const all = isTrue(value) ? elements(value) : [];
    const found = all.filter((each) => test(get(each)) === isWanted);
    return new Iter(found);
  };
}

function grouped(items: readonly Value[], size: number, fill?: Value) {
  if (!(size > 0)) throw new TemplateFault("batches have a size above 0");
  const groups: Value[][] = [];
  for (let i = 0; i < items.length; i += size) {
    groups.push(items.slice(i, i + size));
  }
  const last = groups.at(-1);
  while (last && fill !== undefined && last.length < size) last.push(fill);
  return groups;
}

const mapped: Filter = (value, args, budget) => {
  const values = isTrue(value) ? elements(value) : [];
  const byName = args.named.get("attribute");
  const run = args.positional.length === 0
    ? getter(byName, budget, args.named.get("default"))
    : (each: Value) =>
      applyFilter(
        textOf(args.positional[0], budget),
        each,
        args.from(1),
        budget,
      );
  return new Iter(values.map(run));
};

/** Numbers round half to even, as floats of Python's do. */
function rounded(value: number, digits: number, method: string): number {
  const scale = 10 ** digits;
  if (method === "ceil") return Math.ceil(value * scale) / scale;
  if (method === "floor") return Math.floor(value * scale) / scale;
  const scaled = value * scale;
  const below = Math.floor(scaled);
  const isHalf = scaled - below === 0.5;
  return (isHalf ? below + (below & 1) : Math.round(scaled)) / scale;
}

const defaulted: Filter = (value, args) => {
  const otherwise = orElse(args.get(0, "default_value"), "");
  const isLacking = value instanceof Undefined ||
    args.flag(1, "boolean") && !isTrue(value);
  return isLacking ? otherwise : value;
};

const counted: Filter = (value, _, budget) => {
  if (typeof value === "string") budget.spend(value.length);
  const length = lengthOf(value);
  if (length !== undefined) return length;
  throw new TemplateFault(`object of type '${typeName(value)}' has no len()`);
};

const escape: Filter = (value, _, budget) => escaped(textOf(value, budget));

const filters: Readonly<Record<string, Filter>> = {
  abs: (value) => {
    const number = Math.abs(numberOf(value) ?? unfit(value));
    return value instanceof Float ? new Float(number) : number;
  },
  attr: (value, args, budget) =>
    attribute(value, args.text(0, "name") ?? "", budget),
  batch: (value, args) =>
    new Iter(
      grouped(
        elements(value),
        args.number(0, "linecount", 0),
        args.get(1, "fill_with"),
      ),
    ),
  capitalize: (value, _, budget) => capitalized(textOf(value, budget)),
  center: (value, args, budget) =>
    padTo(
      textOf(value, budget),
      args.number(0, "width", 80),
      " ",
      "center",
      budget,
    ),
  count: counted,
  d: defaulted,
  default: defaulted,
  dictsort: (value, args, budget) => {
    if (!(value instanceof Map)) return unfit(value);
    const byValue = args.text(1, "by") === "value";
    const isExact = args.flag(0, "case_sensitive");
    const pairs = [...value].map((pair) => new Tuple(pair));
    const key = (pair: Value) =>
      folded((pair as Tuple).items[byValue ? 1 : 0], isExact);
    return sorted(pairs, key, args.flag(2, "reverse"), budget);
  },
  e: escape,
  escape,
  first: (value) =>
    orElse(
      elements(value)[0],
      new Undefined("the first item of an empty sequence"),
    ),
  float: (value, args) => {
    if (value instanceof Undefined) throw value.fault;
    const number = typeof value === "string"
      ? parsed(
        value,
        /^[-+]?(\d+(_\d+)*\.?\d*|\.\d+)(e[-+]?\d+)?$|^[-+]?(inf(inity)?|nan)$/i,
      )
      : numberOf(value);
    return new Float(number ?? args.number(0, "default", 0));
  },
  forceescape: escape,
  format: (value, args, budget) => {
    const values = args.named.size > 0
      ? new Map<Value, Value>(args.named)
      : new Tuple(args.positional);
    return formatPercent(textOf(value, budget), values, budget);
  },
  groupby: (value, args, budget) => {
    const get = getter(
      args.get(0, "attribute"),
      budget,
      args.get(1, "default"),
    );
    const isExact = args.flag(2, "case_sensitive");
    const key = (each: Value) => folded(get(each), isExact);
    const groups: { key: Value; items: Value[] }[] = [];
    for (const each of sorted(elements(value), key, false, budget)) {
      const last = groups.at(-1);
      if (last && equals(key(last.items[0]), key(each), budget)) {
        last.items.push(each);
      } else groups.push({ key: get(each), items: [each] });
    }
    return groups.map(({ key, items }) =>
      new Tuple([key, items], ["grouper", "list"])
    );
  },
  indent: (value, args, budget) => {
    if (typeof value !== "string") return unfit(value);
    const text = value;
    const width = args.get(0, "width") ?? 4;
    const blanks = typeof width === "string"
      ? width.length
      : numberOf(width) ?? 4;
    const lines = text.split("\n");
    budget.text(text.length + lines.length * blanks);
    const fill = typeof width === "string" ? width : " ".repeat(blanks);
    const indentsBlank = args.flag(2, "blank");
    return lines.map((line, i) =>
      i === 0
        ? (args.flag(1, "first") ? fill : "") + line
        : line === "" && !indentsBlank
        ? line
        : fill + line
    ).join("\n");
  },
  int: (value, args) => {
    const base = args.number(1, "base", 10);
    const otherwise = args.number(0, "default", 0);
    if (typeof value === "string") {
      const digits = stripped(value, undefined).replaceAll("_", "");
      const whole = base === 10
        ? /^[-+]?\d+$/.test(digits)
        : /^[-+]?(0[xob])?[\da-z]+$/i.test(digits);
      const number = whole
        ? parseInt(base === 10 ? digits : digits.replace(/0[ob]/i, ""), base)
        : parsed(value, /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i);
      return number === undefined || !Number.isFinite(number)
        ? otherwise
        : Math.trunc(number);
    }
    if (value instanceof Undefined) throw value.fault;
    const number = numberOf(value);
    return number !== undefined && Number.isFinite(number)
      ? Math.trunc(number)
      : otherwise;
  },
  items: (value) => {
    if (value instanceof Undefined) return new Iter([]);
    if (!(value instanceof Map)) return unfit(value);
    return new Iter([...value].map((pair) => new Tuple(pair)));
  },
  join: (value, args, budget) => {
    const get = getter(args.get(1, "attribute"), budget);
    const between = textOf(args.get(0, "d") ?? "", budget);
    const items = elements(value);
    budget.text(items.length * between.length);
    return joined(items.map(get), between, budget, false);
  },
  last: (value) => {
    const all = elements(value);
    return orElse(
      all[all.length - 1],
      new Undefined("the last item of an empty sequence"),
    );
  },
  length: counted,
  list: (value, _, budget) => {
    const all = [...elements(value)];
    budget.list(all.length);
    return all;
  },
  lower: (value, _, budget) => textOf(value, budget).toLowerCase(),
  map: mapped,
  max: extreme(1),
  min: extreme(-1),
  pprint: (value, _, budget) => shown(value, budget),
  random: (value) => {
    const all = elements(value);
    return orElse(
      all[Math.floor(Math.random() * all.length)],
      new Undefined("an item of an empty sequence"),
    );
  },
  reject: selecting(false, false),
  rejectattr: selecting(false, true),
  replace: (value, args, budget) =>
    replaced(
      textOf(value, budget),
      textOf(args.get(0, "old") ?? "", budget),
      textOf(args.get(1, "new") ?? "", budget),
      args.number(2, "count", -1),
      budget,
    ),
  reverse: (value) =>
    typeof value === "string"
      ? Array.from(value).reverse().join("")
      : new Iter(elements(value).toReversed(), "list_reverseiterator"),
  round: (value, args) => {
    const method = args.text(1, "method") ?? "common";
    const digits = args.number(0, "precision", 0);
    const number = rounded(numberOf(value) ?? unfit(value), digits, method);
    const isWhole = method === "common" && !(value instanceof Float);
    return isWhole ? number : new Float(number);
  },
  safe: (value, _, budget) => textOf(value, budget),
  select: selecting(true, false),
  selectattr: selecting(true, true),
  slice: (value, args, budget) => {
    const all = elements(value);
    const count = args.number(0, "slices", 0);
    const fill = args.get(1, "fill_with");
    budget.list(count);
    const [least, more] = [Math.floor(all.length / count), all.length % count];
    let at = 0;
    return new Iter(Array.from({ length: count }, (_, i) => {
      const part = all.slice(at, at += least + (i < more ? 1 : 0));
      return fill !== undefined && more > 0 && i >= more
        ? [...part, fill]
        : part;
    }));
  },
  sort: (value, args, budget) => {
    const names = args.get(2, "attribute");
    const gets = typeof names === "string" && names.includes(",")
      ? names.split(",").map((name) => getter(name.trim(), budget))
      : [getter(names, budget)];
    const isExact = args.flag(1, "case_sensitive");
    const key = (each: Value) => {
      const keys = gets.map((get) => folded(get(each), isExact));
      return keys.length > 1 ? new Tuple(keys) : keys[0];
    };
    return sorted(elements(value), key, args.flag(0, "reverse"), budget);
  },
  string: (value, _, budget) => textOf(value, budget),
  sum: (value, args, budget) => {
    const get = getter(args.get(0, "attribute"), budget);
    const start = args.get(1, "start") ?? 0;
    const all = [start, ...elements(value).map(get)];
    const sum = all.reduce<number>(
      (sum, each) => sum + (numberOf(each) ?? unfit(each)),
      0,
    );
    return all.some((each) => each instanceof Float) ? new Float(sum) : sum;
  },
  title: (value, _, budget) =>
    textOf(value, budget).replace(
      /[^\-\s({[<]+/gu,
      (word) => {
        const [first, ...rest] = word;
        return first.toUpperCase() + rest.join("").toLowerCase();
      },
    ),
  tojson: (value, args, budget) => {
    const indent = args.get(1, "indent");
    const separators = itemsOf(args.get(2, "separators") ?? null);
    const hasLines = indent !== undefined && indent !== null;
    const width = typeof indent === "string" ? 0 : numberOf(indent ?? 0) ?? 0;
    budget.text(width);
    const [between, colon] = separators
      ? separators.map((each) => textOf(each, budget))
      : [hasLines ? "," : ", ", ": "];
    return toJson(value, {
      indent: !hasLines
        ? undefined
        : typeof indent === "string"
        ? indent
        : " ".repeat(width),
      separators: [between, colon],
      ensureAscii: args.flag(0, "ensure_ascii"),
      sortKeys: args.flag(3, "sort_keys"),
    }, budget);
  },
  trim: (value, args, budget) =>
    stripped(textOf(value, budget), args.text(0, "chars")),
  truncate: (value, args, budget) => {
    const text = textOf(value, budget);
    const all = charactersOf(text);
    const end = args.text(2, "end") ?? "...";
    const length = args.number(0, "length", 255);
    if (length < end.length) {
      throw new TemplateFault(
        `truncate takes a length of at least ${end.length}`,
      );
    }
    if (all.length <= length + args.number(3, "leeway", 5)) return text;
    const cut = Array.prototype.slice.call(all, 0, length - end.length)
      .join("");
    if (args.flag(1, "killwords")) return cut + end;
    const at = cut.lastIndexOf(" ");
    return (at < 0 ? cut : cut.slice(0, at)) + end;
  },
  unique: (value, args, budget) => {
    const get = getter(args.get(1, "attribute"), budget);
    const isExact = args.flag(0, "case_sensitive");
    const seen = new Set<Value>();
    return new Iter(
      elements(value).filter((each) => {
        const key = folded(get(each), isExact);
        const known = typeof key === "object" && key !== null
          ? shown(key, budget)
          : key;
        return !seen.has(known) && seen.add(known);
      }),
    );
  },
  upper: (value, _, budget) => textOf(value, budget).toUpperCase(),
  urlencode: (value, _, budget) => {
    const encode = (each: Value) =>
      encodeURIComponent(textOf(each, budget).toWellFormed())
        .replace(
          /[!'()*]/g,
          (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
        );
    if (typeof value === "string") return encode(value).replaceAll("%2F", "/");
    const pairs = value instanceof Map ? [...value] : elements(value)
      .map((pair) => itemsOf(pair) ?? []);
    return pairs.map(([key, each]) => `${encode(key)}=${encode(each)}`)
      .join("&");
  },
  wordcount: (value, _, budget) =>
    textOf(value, budget).match(/[\p{L}\p{M}\p{N}_]+/gu)?.length ?? 0,
};

function unfit(value: Value): never {
  if (value instanceof Undefined) throw value.fault;
  throw new TemplateFault(`a filter cannot take a '${typeName(value)}'`);
}

/** The number that a text spells. */
function parsed(text: string, pattern: RegExp): number | undefined {
  const trimmed = stripped(text, undefined);
  if (!pattern.test(trimmed)) return undefined;
  const name = trimmed.toLowerCase().replace(/^[-+]/, "");
  if (name === "nan") return NaN;
  const sign = trimmed[0] === "-" ? -1 : 1;
  return sign *
    (name.startsWith("inf") ? Infinity : Number(name.replaceAll("_", "")));
}

/** Filters that look at no element and make nothing. */
const free = new Set([
  "default",
  "d",
  "first",
  "last",
  "length",
  "count",
  "safe",
  "string",
]);

/**
 * Applies a filter.
 *
 * @throws {TemplateFault} The filter is not known, or cannot take the value.
 */
export function applyFilter(
  name: string,
  value: Value,
  args: Args,
  budget: Budget,
): Value {
  budget.tick();
  if (!Object.hasOwn(filters, name)) {
    throw new TemplateFault(`No filter named '${name}'.`);
  }
  if (free.has(name)) return filters[name](value, args, budget);
  if (value instanceof Iter) budget.spendElements(value.items.length);
  else budget.spend(sizeOf(value));
  const result = filters[name](value, args, budget);
  if (typeof result === "string") {
    budget.text(result.length);
    budget.spend(result.length);
  } else if (result instanceof Iter) budget.spendElements(result.items.length);
  else budget.spendElements(itemsOf(result)?.length ?? 0);
  return result;
}

const comparing =
  (holds: (order: number) => boolean): Test => (value, args, budget) =>
    holds(compare(value, args.positional[0] ?? null, budget));
const remainder = (value: Value, by: number) => {
  const number = numberOf(value) ?? unfit(value);
  return number - by * Math.floor(number / by);
};
const isEqual: Test = (value, args, budget) =>
  equals(value, args.positional[0] ?? null, budget);
const isUnequal: Test = (...all) => !isEqual(...all);
const greater = comparing((order) => order > 0);
const least = comparing((order) => order >= 0);
const less = comparing((order) => order < 0);
const most = comparing((order) => order <= 0);

const tests: Readonly<Record<string, Test>> = {
  boolean: (value) => typeof value === "boolean",
  callable: (value) => value instanceof Callable || value instanceof Undefined,
  defined: (value) => !(value instanceof Undefined),
  divisibleby: (value, args) =>
    remainder(value, args.number(0, "num", 1)) === 0,
  eq: isEqual,
  "==": isEqual,
  equalto: isEqual,
  escaped: () => false,
  even: (value) => remainder(value, 2) === 0,
  false: (value) => value === false,
  filter: (value) => Object.hasOwn(filters, String(value)),
  float: (value) => value instanceof Float,
  ge: least,
  ">=": least,
  gt: greater,
  ">": greater,
  greaterthan: greater,
  in: (value, args, budget) =>
    contains(args.positional[0] ?? null, value, budget),
  integer: (value) => typeof value === "number",
  iterable: (value) =>
    value instanceof Iter ||
    elementsOf(value) !== undefined,
  le: most,
  "<=": most,
  lower: (value, _, budget) => {
    const text = textOf(value, budget);
    return text === text.toLowerCase() && text !== text.toUpperCase();
  },
  lt: less,
  "<": less,
  lessthan: less,
  mapping: (value) => value instanceof Map,
  ne: isUnequal,
  "!=": isUnequal,
  none: (value) => value === null,
  number: (value) => numberOf(value) !== undefined,
  odd: (value) => remainder(value, 2) === 1,
  sameas: (value, args) => value === args.positional[0],
  sequence: (value) =>
    typeof value === "string" || value instanceof Undefined ||
    value instanceof Map || itemsOf(value) !== undefined,
  string: (value) => typeof value === "string",
  test: (value) => Object.hasOwn(tests, String(value)),
  true: (value) => value === true,
  undefined: (value) => value instanceof Undefined,
  upper: (value, _, budget) => {
    const text = textOf(value, budget);
    return text === text.toUpperCase() && text !== text.toLowerCase();
  },
};

/**
 * A test with its arguments.
 *
 * @throws {TemplateFault} The test is not known.
 */
export function testNamed(
  name: string,
  args: Args,
  budget: Budget,
): (value: Value) => boolean {
  if (!Object.hasOwn(tests, name)) {
    throw new TemplateFault(`No test named '${name}'.`);
  }
  return (value) => {
    budget.tick();
    return tests[name](value, args, budget);
  };
}
