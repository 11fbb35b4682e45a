/** From a template to its parts, with white space as Jinja treats it where blocks are trimmed. */
import { TemplateFault } from "./values.ts";

/** One part of a template. */
export type Token =
  | {
    readonly type: "data" | "name" | "operator" | "string";
    readonly value: string;
  }
  | { readonly type: "integer" | "float"; readonly value: number }
  | { readonly type: "{{" | "}}" | "{%" | "%}" | "end"; readonly value: "" };

const blank = /\s*/y;
const float =
  /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/y;
const integer =
  /0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*/y;
const name = /[\p{L}\p{Nl}_][\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}]*/uy;
const string = /'([^'\\]*(?:\\[^][^'\\]*)*)'|"([^"\\]*(?:\\[^][^"\\]*)*)"/y;
const operator = /\/\/|\*\*|[=!<>]=|[-+/*%~[\](){}<>=.:|,;]/y;
const rawEnd = /\{%([-+]?)\s*endraw\s*(?:\+%\}|-%\}\s*|%\}\n?)/g;

/** Ends of blocks, with the white space that goes with them. */
const ends = {
  "{{": { pattern: /-\}\}\s*|\}\}/y, token: "}}" },
  "{%": { pattern: /\+%\}|-%\}\s*|%\}\n?/y, token: "%}" },
} as const;

/**
 * Takes a template apart. Names, signs and texts are as in Python; a line end
 * behind a block and blanks before one go, as Hugging Face's Transformers has it.
 *
 * @throws {TemplateFault} for what is no Jinja
 */
export function tokenize(template: string): Token[] {
  const source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const tokens: Token[] = [];
  let at = 0;
  let beginsLine = true;
  /** Data before a block, without the blanks that its sign takes away. */
  const data = (end: number, sign: string, isBlock: boolean) => {
    let text = source.slice(at, end);
    if (sign === "-") text = text.trimEnd();
    else if (sign === "" && isBlock) {
      const line = text.lastIndexOf("\n") + 1;
      const isAlone = (line > 0 || beginsLine) &&
        /^\s*$/.test(text.slice(line));
      if (isAlone) text = text.slice(0, line);
    }
    if (text !== "") tokens.push({ type: "data", value: text });
  };
  const goTo = (end: number) => {
    if (end > at) beginsLine = source[end - 1] === "\n";
    at = end;
  };
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    return pattern.exec(source);
  };
  while (at < source.length) {
    const begin = match(/\{([{%#])([-+]?)/g);
    if (!begin) {
      data(source.length, "+", false);
      break;
    }
    const [open, kind, sign] = begin;
    data(begin.index, sign, kind !== "{");
    goTo(begin.index + open.length);
    if (kind === "#") {
      const end = match(/(?:\+#\}|-#\}\s*|#\}\n?)/g);
      if (!end) throw new TemplateFault("a comment has no end");
      goTo(end.index + end[0].length);
      continue;
    }
    const raw = kind === "%" ? match(/\s*raw\s*(?:-%\}\s*|%\})/y) : null;
    if (raw) {
      goTo(at + raw[0].length);
      const end = match(rawEnd);
      if (!end) throw new TemplateFault("a raw block has no end");
      data(end.index, end[1], true);
      goTo(end.index + end[0].length);
      continue;
    }
    goTo(code(source, at, kind === "%" ? "{%" : "{{", tokens));
  }
  tokens.push({ type: "end", value: "" });
  return tokens;
}

/** Appends what is within a block, and gives the offset behind it. */
function code(
  source: string,
  start: number,
  open: "{{" | "{%",
  tokens: Token[],
): number {
  let at = start;
  const take = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const found = pattern.exec(source);
    if (found) at += found[0].length;
    return found;
  };
  tokens.push({ type: open, value: "" });
  const brackets: string[] = [];
  while (true) {
    take(blank);
    if (brackets.length === 0 && take(ends[open].pattern)) {
      tokens.push({ type: ends[open].token, value: "" });
      return at;
    }
    let found;
    if ((found = take(float))) {
      tokens.push({
        type: "float",
        value: Number(found[0].replaceAll("_", "")),
      });
    } else if ((found = take(integer))) {
      tokens.push({
        type: "integer",
        value: Number(found[0].replaceAll("_", "")),
      });
    } else if ((found = take(name))) {
      tokens.push({ type: "name", value: found[0] });
    } else if ((found = take(string))) {
      tokens.push({ type: "string", value: unescaped(found[1] ?? found[2]) });
    } else if ((found = take(operator))) {
      const [sign] = found;
      if ("([{".includes(sign)) brackets.push(sign);
      else if (")]}".includes(sign)) {
        const opened = brackets.pop();
        if (
          opened === undefined || "([{".indexOf(opened) !== ")]}".indexOf(sign)
        ) {
          throw new TemplateFault(`unexpected '${sign}'`);
        }
      }
      tokens.push({ type: "operator", value: sign });
    } else {
      throw new TemplateFault(
        at < source.length
          ? `unexpected character ${JSON.stringify(source[at])}`
          : "a block has no end",
      );
    }
  }
}

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  b: "\b",
  f: "\f",
  v: "\v",
  a: "\x07",
  "'": "'",
  '"': '"',
  "\\": "\\",
  "\n": "",
};

/** A text's escapes, which are Python's: an unknown one stays what it is. */
function unescaped(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([^]))/g,
    (whole, x, u, U, octal, other) => {
      if (octal !== undefined) return String.fromCharCode(parseInt(octal, 8));
      const hex = x ?? u ?? U;
      if (hex !== undefined) {
        const code = parseInt(hex, 16);
        return code > 0x10ffff ? whole : String.fromCodePoint(code);
      }
      return escapes[other] ?? whole;
    },
  );
}
