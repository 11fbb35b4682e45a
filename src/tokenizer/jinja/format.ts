/** Python's `%` and `format` of texts. */
import type { Budget } from "./limits.ts";
import {
  type Args,
  Float,
  floatText,
  itemsOf,
  numberOf,
  shown,
  TemplateFault,
  textOf,
  Tuple,
  typeName,
  type Value,
} from "./values.ts";

/** How a value is written. */
interface Spec {
  readonly fill: string;
  readonly align: string;
  readonly sign: string;
  readonly width: number;
  readonly comma: boolean;
  readonly precision?: number;
  readonly type: string;
}

function padded(text: string, spec: Spec, otherwise: string): string {
  const { fill, width } = spec;
  const align = spec.align || otherwise;
  const lacking = Math.max(0, width - text.length);
  if (align === "=") {
    const [, sign, rest] = /^([-+ ]?)([^]*)$/.exec(text)!;
    return sign + fill.repeat(lacking) + rest;
  }
  const before = align === "<"
    ? 0
    : align === "^"
    ? Math.floor(lacking / 2)
    : lacking;
  return fill.repeat(before) + text + fill.repeat(lacking - before);
}

function withSign(number: number, text: string, sign: string): string {
  const isNegative = number < 0 || Object.is(number, -0);
  return (isNegative ? "-" : sign === "-" ? "" : sign) + text;
}

function numeral(value: Value, { type, precision, comma, sign }: Spec): string {
  const number = numberOf(value);
  if (number === undefined) {
    throw new TemplateFault(
      `format '${type}' takes a number, not ${typeName(value)}`,
    );
  }
  const size = Math.abs(number);
  const isFloat = value instanceof Float;
  let text: string;
  switch (type) {
    case "d":
    case "i":
    case "u":
      text = String(Math.trunc(size));
      break;
    case "x":
    case "X":
    case "o":
    case "b":
      text = Math.trunc(size).toString({ x: 16, X: 16, o: 8, b: 2 }[type]);
      break;
    case "e":
    case "E":
      text = size.toExponential(precision ?? 6)
        .replace(/e([+-])(\d)$/, "e$10$2");
      break;
    case "%":
      text = `${(size * 100).toFixed(precision ?? 6)}%`;
      break;
    case "f":
    case "F":
      text = size.toFixed(precision ?? 6);
      break;
    default:
      text = precision !== undefined || /^[gG]$/.test(type)
        ? general(size, precision ?? 6)
        : isFloat
        ? floatText(size)
        : String(size);
  }
  if (comma) {
    text = text.replace(
      /^\d+/,
      (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ","),
    );
  }
  return withSign(number, /[XEG]/.test(type) ? text.toUpperCase() : text, sign);
}

/** As many digits as are asked for, without zeros behind them. */
function general(size: number, precision: number): string {
  const digits = Math.max(1, precision);
  const exponent = Number(/e(.*)$/.exec(size.toExponential(digits - 1))?.[1]);
  const isLong = exponent < -4 || exponent >= digits;
  const text = isLong
    ? size.toExponential(digits - 1)
    : size.toPrecision(digits);
  return text.replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "")
    .replace(/e([+-])(\d)$/, "e$10$2");
}

/** Widths and precisions beyond make no text that is read. */
function checked(digits: string | undefined, budget: Budget): number {
  const number = Number(digits ?? 0);
  budget.text(number);
  budget.spend(number);
  return number;
}

/** Python's `text % values`. */
export function formatPercent(
  text: string,
  values: Value,
  budget: Budget,
): string {
  const items = values instanceof Tuple ? values.items : [values];
  let next = 0;
  const taken = () => {
    if (next < items.length) return items[next++];
    throw new TemplateFault("not enough arguments for format string");
  };
  // Where a name begins, its end is looked for.
  budget.spend(text.length * text.split("%(").length);
  const made = text.replace(
    /%(?:\((.*?)\))?([-#0 +]*)(\d+|\*)?(?:\.(\d+))?([a-zA-Z%])?/g,
    (whole, key, flags, width, precision, type) => {
      if (type === "%") return "%";
      if (type === undefined) {
        throw new TemplateFault(`incomplete format ${whole}`);
      }
      const size = width === "*" ? String(numberOf(taken())) : width;
      const value: Value = key === undefined
        ? taken()
        : values instanceof Map
        ? values.get(key) ?? null
        : null;
      const isText = "srac".includes(type);
      const isLeft = flags.includes("-");
      const isZero = flags.includes("0") && !isText && !isLeft;
      const spec: Spec = {
        fill: isZero ? "0" : " ",
        align: isLeft ? "<" : isZero ? "=" : ">",
        sign: flags.includes("+") ? "+" : flags.includes(" ") ? " " : "-",
        width: checked(size, budget),
        comma: false,
        precision: digitsOf(precision),
        type,
      };
      if (isText) {
        const all = type === "r" ? shown(value, budget) : textOf(value, budget);
        const cut = precision === undefined ? all : all.slice(0, +precision);
        return padded(cut, spec, ">");
      }
      if (!"diuoxXeEfFgG".includes(type)) {
        throw new TemplateFault(`unsupported format character '${type}'`);
      }
      return padded(numeral(value, spec), spec, ">");
    },
  );
  // Lists and dictionaries may be given to a text that takes none of them.
  const isOptional = values instanceof Map || Array.isArray(values);
  if (next < items.length && !isOptional) {
    throw new TemplateFault(
      "not all arguments converted during string formatting",
    );
  }
  budget.text(made.length);
  return made;
}

/** Digits behind a point, as many as JavaScript writes. */
function digitsOf(precision: string | undefined): number | undefined {
  return precision === undefined ? undefined : Math.min(Number(precision), 100);
}

/** Python's `text.format(…)`; parts of values are told by key and index alone. */
export function formatBraces(text: string, args: Args, budget: Budget): string {
  let next = 0;
  budget.spend(text.length);
  const made = text.replace(
    /\{\{|\}\}|\{([^{}!:]*)(?:!([rsa]))?(?::([^{}]*))?\}|[{}]/g,
    (whole, path, conversion, format = "") => {
      if (whole === "{{" || whole === "}}") return whole[0];
      if (path === undefined) {
        throw new TemplateFault(`single '${whole}' in format string`);
      }
      const [, name, rest] = /^([^.[]*)(.*)$/.exec(path)!;
      let value = name === ""
        ? args.positional[next++]
        : /^\d+$/.test(name)
        ? args.positional[Number(name)]
        : args.named.get(name);
      for (const [, , index] of rest.matchAll(/(\[([^\][]*)\]|\..*)/g)) {
        if (index === undefined) {
          throw new TemplateFault(`format does not read attributes: ${whole}`);
        }
        const isIndex = /^\d+$/.test(index);
        value = value instanceof Map
          ? value.get(isIndex ? Number(index) : index)
          : itemsOf(value ?? null)?.[Number(index)];
      }
      if (value === undefined) {
        throw new TemplateFault(`format has no argument for ${whole}`);
      }
      if (conversion) {
        value = conversion === "s"
          ? textOf(value, budget)
          : shown(value, budget);
      }
      return written(value, format, budget);
    },
  );
  budget.text(made.length);
  return made;
}

function written(value: Value, format: string, budget: Budget): string {
  const found =
    /^(?:(.)?([<>=^]))?([-+ ]?)#?(0)?(\d+)?(,|_)?(?:\.(\d+))?([a-zA-Z%])?$/u
      .exec(format);
  if (!found) throw new TemplateFault(`invalid format specifier '${format}'`);
  const [, fill, align, sign, zero, width, comma, precision, type] = found;
  const isNumber = numberOf(value) !== undefined && typeof value !== "boolean";
  const spec: Spec = {
    fill: fill ?? (zero ? "0" : " "),
    align: align ?? (zero && isNumber ? "=" : ""),
    sign: sign || "-",
    width: checked(width, budget),
    comma: comma !== undefined,
    precision: digitsOf(precision),
    type: type ?? "",
  };
  if (isNumber && type !== "s") return padded(numeral(value, spec), spec, ">");
  const all = textOf(value, budget);
  const cut = precision === undefined ? all : all.slice(0, Number(precision));
  return padded(cut, spec, "<");
}
