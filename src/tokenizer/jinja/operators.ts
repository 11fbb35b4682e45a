/** What Python's operators, subscripts and attributes do. */
import type { Budget } from "./limits.ts";
import { methodOf } from "./methods.ts";
import { formatPercent } from "./format.ts";
import {
  Attributes,
  charactersOf,
  Float,
  isTrue,
  itemsOf,
  lengthOf,
  numberOf,
  orElse,
  TemplateFault,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

function isInteger(value: Value): boolean {
  return typeof value === "number" || typeof value === "boolean";
}

/** Python's remainder, which has the sign of the divisor. */
function modulo(x: number, y: number): number {
  return x - y * Math.floor(x / y);
}

const arithmetic: Readonly<Record<string, (x: number, y: number) => number>> = {
  "+": (x, y) => x + y,
  "-": (x, y) => x - y,
  "*": (x, y) => x * y,
  "/": (x, y) => x / y,
  "//": (x, y) => Math.floor(x / y),
  "%": modulo,
  "**": (x, y) => x ** y,
};

/** Applies an operator to two values. */
export function operate(
  sign: string,
  left: Value,
  right: Value,
  budget: Budget,
): Value {
  const [x, y] = [numberOf(left), numberOf(right)];
  if (x !== undefined && y !== undefined) {
    if ("/%".includes(sign[0]) && y === 0) {
      throw new TemplateFault("division by zero");
    }
    const result = arithmetic[sign](x, y);
    const isWhole = isInteger(left) && isInteger(right) && sign !== "/" &&
      !(sign === "**" && y < 0);
    return isWhole ? result : new Float(result);
  }
  for (const each of [left, right]) {
    if (each instanceof Undefined) throw each.fault;
  }
  if (sign === "+") {
    if (typeof left === "string" && typeof right === "string") {
      budget.text(left.length + right.length);
      return left + right;
    }
    const [a, b] = [itemsOf(left), itemsOf(right)];
    if (a && b && typeName(left) === typeName(right)) {
      budget.list(a.length + b.length);
      budget.spendElements(a.length + b.length);
      const items = [...a, ...b];
      return left instanceof Tuple ? new Tuple(items) : items;
    }
  }
  if (sign === "*" && isInteger(left)) return repeated(right, x!, budget);
  if (sign === "*" && isInteger(right)) return repeated(left, y!, budget);
  if (sign === "%" && typeof left === "string") {
    return formatPercent(left, right, budget);
  }
  throw unsupported(sign, left, right);
}

function unsupported(sign: string, left: Value, right: Value): TemplateFault {
  return new TemplateFault(
    `unsupported operand type(s) for ${sign}: '${typeName(left)}' and '${
      typeName(right)
    }'`,
  );
}

function repeated(value: Value, times: number, budget: Budget): Value {
  const count = Math.max(0, times);
  if (typeof value === "string") {
    budget.text(value.length * count);
    budget.spend(value.length * count);
    return value.repeat(count);
  }
  const items = itemsOf(value);
  if (!items) throw unsupported("*", value, times);
  budget.list(items.length * count);
  const all = Array.from({ length: count }, () => items).flat();
  return value instanceof Tuple ? new Tuple(all) : all;
}

/** The value with its sign changed, or kept. */
export function signed(sign: string, value: Value): Value {
  const number = numberOf(value);
  if (number === undefined) {
    if (value instanceof Undefined) throw value.fault;
    throw new TemplateFault(
      `bad operand type for unary ${sign}: '${typeName(value)}'`,
    );
  }
  const result = sign === "-" ? -number : number;
  return value instanceof Float ? new Float(result) : result || 0;
}

/** Part of a value by its attribute's name: `value.name`. */
export function attribute(value: Value, name: string, budget: Budget): Value {
  if (value instanceof Undefined) throw value.fault;
  const found = attributeOf(value, name, budget);
  return found === undefined
    ? orElse(itemOf(value, name), missing(value, name))
    : found;
}

/** Part of a value by what stands in brackets: `value[key]`. */
export function item(value: Value, key: Value, budget: Budget): Value {
  if (value instanceof Undefined) throw value.fault;
  if (typeof value === "string") budget.spend(value.length);
  const found = itemOf(value, key);
  if (found !== undefined) return found;
  return typeof key === "string"
    ? orElse(attributeOf(value, key, budget), missing(value, key))
    : missing(value, typeName(key));
}

function missing(value: Value, name: string): Undefined {
  return new Undefined(
    `'${typeName(value)} object' has no attribute '${
      name.slice(0, 80)
    }', which`,
  );
}

function attributeOf(
  value: Value,
  name: string,
  budget: Budget,
): Value | undefined {
  if (value instanceof Attributes) return value.values.get(name);
  if (value instanceof Tuple && value.names.includes(name)) {
    return value.items[value.names.indexOf(name)];
  }
  return methodOf(value, name, budget);
}

function itemOf(value: Value, key: Value): Value | undefined {
  if (value instanceof Map) {
    return value.get(key instanceof Float ? key.value : key);
  }
  if (!isInteger(key)) return undefined;
  const index = Number(key);
  const all = typeof value === "string" ? charactersOf(value) : itemsOf(value);
  return all?.[index < 0 ? index + all.length : index];
}

/** A stretch of a text or list: `value[start:stop:step]`. */
export function slice(
  value: Value,
  bounds: readonly (Value | undefined)[],
  budget: Budget,
): Value {
  if (value instanceof Undefined) throw value.fault;
  const all = typeof value === "string" ? charactersOf(value) : itemsOf(value);
  if (all === undefined) {
    throw new TemplateFault(`'${typeName(value)}' object is not subscriptable`);
  }
  const [start, stop, step = 1] = bounds.map((bound) => {
    if (bound === undefined || bound === null) return undefined;
    if (isInteger(bound)) return Number(bound);
    throw new TemplateFault("slice indices must be integers or None");
  });
  if (step === 0) throw new TemplateFault("slice step cannot be zero");
  const size = all.length;
  const least = step > 0 ? 0 : -1;
  const most = step > 0 ? size : size - 1;
  const place = (bound: number | undefined, otherwise: number) =>
    bound === undefined ? otherwise : Math.min(
      most,
      Math.max(least, bound < 0 ? bound + size : bound),
    );
  let from = place(start, step > 0 ? 0 : size - 1);
  const to = place(stop, step > 0 ? size : -1);
  budget.spend(typeof value === "string" ? size : 64 * size);
  if (typeof value === "string" && step === 1) {
    return typeof all === "string"
      ? value.slice(from, Math.max(from, to))
      : Array.prototype.slice.call(all, from, Math.max(from, to)).join("");
  }
  const taken: Value[] = [];
  for (; step > 0 ? from < to : from > to; from += step) taken.push(all[from]);
  if (typeof value === "string") return taken.join("");
  return value instanceof Tuple ? new Tuple(taken) : taken;
}

/** What a value takes to be read, in characters. */
export function sizeOf(value: Value): number {
  return typeof value === "string" ? value.length : lengthOf(value) ?? 1;
}

/** Whether each of two values is true, or as `and` and `or` have it: one of them. */
export function choose(sign: "and" | "or", left: Value, right: () => Value) {
  return isTrue(left) === (sign === "and") ? right() : left;
}
