/** Grammars in llama.cpp's GBNF, read into the words of `wasm-constrain/src/gbnf.rs`. */
import { LimitError, UnsupportedError, UsageError } from "../errors.ts";

/** Gives the id of a token by its text, `<think>`; undefined where that is not one token. */
export type FindToken = (text: string) => number | undefined;

/** Most characters of a grammar, most elements in its rules, and most repetitions of one. */
const mostCharacters = 2 ** 18, mostElements = 200_000, mostTimes = 10_000;

/** Levels of parentheses. */
const mostLevels = 100;

/** The last code point. */
const lastPoint = 0x10ffff;

type Element =
  | { readonly rule: number }
  /** First and last code points, range after range, in order */
  | { readonly ranges: readonly number[] }
  | { readonly token: number; readonly negated: boolean };

type Alternative = readonly Element[];

const word = { end: 0, rule: 1, class: 2, token: 3, notToken: 4 };

/**
 * A grammar in words: `[rules, of each rule: alternatives, of each alternative:
 * elements, 0]`, the rule `root` first.
 *
 * @throws {UsageError} saying what is wrong, and in which line
 * @throws {UnsupportedError} where a rule begins with itself
 * @throws {LimitError} where it is too large
 */
export function compileGbnf(
  text: string,
  vocabSize: number,
  findToken: FindToken,
): Uint32Array {
  if (text.length > mostCharacters) {
    throw new LimitError(
      `Cannot read the grammar: it has ${text.length} characters, the limit is ${mostCharacters}`,
    );
  }
  const parser = new Parser(text, vocabSize, findToken);
  parser.readRules();
  const rules = parser.rules;
  checkLeftRecursion(rules, parser.names);
  const words: number[] = [rules.length];
  for (const alternatives of rules) {
    words.push(alternatives.length);
    for (const alternative of alternatives) {
      for (const element of alternative) {
        append(words, wordsOf(element));
      }
      words.push(word.end);
    }
  }
  return Uint32Array.from(words);
}

/** As `push` does, which takes no more arguments than a stack holds. */
function append<T>(to: T[], from: readonly T[]): void {
  for (const each of from) to.push(each);
}

function wordsOf(element: Element): number[] {
  if ("rule" in element) return [word.rule, element.rule];
  if ("token" in element) {
    return [element.negated ? word.notToken : word.token, element.token];
  }
  const { ranges } = element;
  return [word.class, ranges.length / 2, ...ranges];
}

class Parser {
  /** By number; the root's is 0. */
  readonly rules: (Alternative[])[] = [];
  /** Names of rules by number, those of parts of rules too */
  readonly names: string[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #used = new Map<string, number>();
  readonly #defined = new Set<number>();
  #at = 0;
  #elements = 0;

  constructor(
    readonly text: string,
    readonly vocabSize: number,
    readonly findToken: FindToken,
  ) {
    this.#number("root");
  }

  readRules(): void {
    this.#skipSpace(true);
    while (this.#at < this.text.length) this.#readRule();
    if (!this.#defined.has(0)) {
      throw new UsageError("Cannot read the grammar: it has no rule root");
    }
    for (const [name, at] of this.#used) {
      if (this.#defined.has(this.#numbers.get(name)!)) continue;
      this.#at = at;
      throw this.#wrong(`there is no rule ${name}`);
    }
  }

  #readRule(): void {
    const name = this.#readName();
    this.#skipSpace(false);
    if (!this.#take("::=")) throw this.#wrong("::= is missing");
    this.#skipSpace(true);
    const number = this.#number(name);
    this.rules[number] = this.#readAlternatives(name, 0);
    this.#defined.add(number);
    const rest = this.text[this.#at];
    if (rest !== undefined && rest !== "\n" && rest !== "\r") {
      throw this.#wrong(`${JSON.stringify(rest)} is not expected`);
    }
    this.#skipSpace(true);
  }

  #readAlternatives(rule: string, level: number): Alternative[] {
    if (level > mostLevels) {
      throw new LimitError(
        `Cannot read the grammar: it has more than ${mostLevels} levels of parentheses`,
      );
    }
    const alternatives = [this.#readSequence(rule, level)];
    while (this.#take("|")) {
      this.#skipSpace(true);
      alternatives.push(this.#readSequence(rule, level));
    }
    return alternatives;
  }

  #readSequence(rule: string, level: number): Alternative {
    const sequence: Element[] = [];
    /** Where the last item begins, of which `*` and its like speak */
    let last = 0, hasItem = false;
    for (;;) {
      const next = this.text[this.#at];
      const begin = sequence.length;
      if (next === '"') this.#readLiteral(sequence);
      else if (next === "[") sequence.push(this.#readClass());
      else if (next === ".") {
        this.#at++;
        sequence.push({ ranges: [0, lastPoint] });
      } else if (next === "<" || next === "!") sequence.push(this.#readToken());
      else if (next === "(") {
        this.#at++;
        this.#skipSpace(true);
        const group = this.#add(rule, this.#readAlternatives(rule, level + 1));
        if (!this.#take(")")) throw this.#wrong(") is missing");
        sequence.push(group);
      } else if (next !== undefined && isName(next)) {
        const at = this.#at;
        const name = this.#readName();
        if (!this.#used.has(name)) this.#used.set(name, at);
        sequence.push({ rule: this.#number(name) });
      } else {
        const times = this.#readTimes();
        if (!times) return sequence;
        if (!hasItem) throw this.#wrong("there is nothing to repeat");
        const item = sequence.splice(last);
        append(sequence, this.#repeat(rule, item, ...times));
        this.#skipSpace(level > 0);
        continue;
      }
      this.#count(sequence.length - begin);
      last = begin;
      hasItem = true;
      this.#skipSpace(level > 0);
    }
  }

  /** How often what stands before is repeated: at least, and at most. */
  #readTimes(): [least: number, most: number] | undefined {
    if (this.#take("*")) return [0, Infinity];
    if (this.#take("+")) return [1, Infinity];
    if (this.#take("?")) return [0, 1];
    const braces = this.#match(/\{\s*(\d+)\s*(,\s*(\d*)\s*)?\}/y);
    if (!braces) {
      if (this.text[this.#at] !== "{") return;
      throw this.#wrong("{m}, {m,} or {m,n} is not complete");
    }
    const least = Number(braces[1]);
    const most = braces[2] === undefined
      ? least
      : braces[3] === ""
      ? Infinity
      : Number(braces[3]);
    if (least > most) throw this.#wrong(`${least} is more than ${most}`);
    if (Math.max(least, most === Infinity ? 0 : most) > mostTimes) {
      throw new LimitError(
        `Cannot read the grammar: something is repeated ${
          braces[0]
        } times, the limit is ${mostTimes}`,
      );
    }
    return [least, most];
  }

  /** x{2,4} is x x (x (x)?)?; x{2,} is x x s, where s is x s, or nothing. */
  #repeat(
    rule: string,
    item: readonly Element[],
    least: number,
    most: number,
  ): Element[] {
    const all: Element[] = [];
    for (let i = 0; i < least; i++) {
      append(all, item);
      this.#count(item.length);
    }
    if (most === Infinity) {
      const loop = this.#add(rule, []);
      this.rules[loop.rule] = [[...item, loop], []];
      all.push(loop);
      this.#count(item.length);
    } else {
      let rest: Element[] = [];
      for (let i = least; i < most; i++) {
        rest = [this.#add(rule, [[...item, ...rest], []])];
        this.#count(item.length);
      }
      all.push(...rest);
    }
    return all;
  }

  /** Appends a literal's characters. */
  #readLiteral(sequence: Element[]): void {
    this.#at++;
    while (this.text[this.#at] !== '"') {
      const point = this.#readPoint();
      sequence.push({ ranges: [point, point] });
    }
    this.#at++;
  }

  #readClass(): Element {
    this.#at++;
    const negated = this.#take("^");
    const ranges: [number, number][] = [];
    while (this.text[this.#at] !== "]") {
      const first = this.#readPoint();
      const isRange = this.text[this.#at] === "-" &&
        this.text[this.#at + 1] !== "]";
      if (isRange) this.#at++;
      const last = isRange ? this.#readPoint() : first;
      if (first > last) throw this.#wrong(emptyRange(first, last));
      ranges.push([first, last]);
    }
    this.#at++;
    const merged = mergeRanges(ranges);
    return { ranges: (negated ? gapsOf(merged) : merged).flat() };
  }

  /** `<[12]>`, `<think>`, and `!` before them. */
  #readToken(): Element {
    const negated = this.#take("!");
    const [, id] = this.#match(/<\[(\d+)\]>/y) ?? [];
    if (id !== undefined) {
      if (Number(id) < this.vocabSize) return { token: Number(id), negated };
      throw this.#wrong(
        `<[${id}]> is no token: the vocabulary has ids 0 to ${
          this.vocabSize - 1
        }`,
      );
    }
    const [text] = this.#match(/<[^>\n]*>/y) ?? [];
    if (text === undefined) {
      throw this.#wrong("a token, such as <think>, is missing");
    }
    const token = this.findToken(text);
    if (token === undefined) throw this.#wrong(`${text} is not one token`);
    return { token, negated };
  }

  /** A character of a literal or a class: its code point. */
  #readPoint(): number {
    const point = this.text.codePointAt(this.#at);
    if (point === undefined) throw this.#wrong("it ends within a literal");
    if (point !== 0x5c) {
      this.#at += point > 0xffff ? 2 : 1;
      return point;
    }
    const hex = this.#match(
      /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8}))/y,
    );
    if (hex) {
      const escaped = parseInt(hex[1] ?? hex[2] ?? hex[3], 16);
      if (escaped <= lastPoint) return escaped;
      throw this.#wrong(`${hex[0]} is no character`);
    }
    const escapes: Record<string, string> = { t: "\t", r: "\r", n: "\n" };
    const [, letter] = this.#match(/\\([trn\\"[\]])/y) ?? [];
    if (letter === undefined) {
      throw this.#wrong(
        `${this.text.slice(this.#at, this.#at + 2)} is no escape`,
      );
    }
    return (escapes[letter] ?? letter).charCodeAt(0);
  }

  #readName(): string {
    const [name] = this.#match(/[\w-]+/y) ?? [];
    if (name === undefined) throw this.#wrong("the name of a rule is missing");
    return name;
  }

  /** Passes spaces and comments, and ends of lines where they mean nothing. */
  #skipSpace(overLines: boolean): void {
    this.#match(
      overLines ? /(?:[ \t\r\n]|#[^\r\n]*)*/y : /(?:[ \t]|#[^\r\n]*)*/y,
    );
  }

  #take(text: string): boolean {
    const isThere = this.text.startsWith(text, this.#at);
    if (isThere) this.#at += text.length;
    return isThere;
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.text);
    if (match) this.#at = pattern.lastIndex;
    return match;
  }

  #number(name: string): number {
    const number = this.#numbers.get(name) ?? this.#add(name, []).rule;
    this.#numbers.set(name, number);
    return number;
  }

  /** A rule, or a part of one, which has a number too. */
  #add(name: string, alternatives: Alternative[]): { readonly rule: number } {
    this.names.push(name);
    return { rule: this.rules.push(alternatives) - 1 };
  }

  #count(elements: number): void {
    this.#elements += elements;
    if (this.#elements <= mostElements) return;
    throw new LimitError(
      `Cannot read the grammar: its rules have more than ${mostElements} elements, repeated ones counted as often as they may come`,
    );
  }

  #wrong(what: string): UsageError {
    const line = this.text.slice(0, this.#at).split("\n").length;
    return new UsageError(`Cannot read the grammar: ${what} in line ${line}`);
  }
}

function emptyRange(first: number, last: number): string {
  const [a, b] = [first, last].map((point) => String.fromCodePoint(point));
  return `${JSON.stringify(`${a}-${b}`)} is no range: ${
    JSON.stringify(a)
  } comes after ${JSON.stringify(b)}`;
}

function isName(character: string): boolean {
  return /[\w-]/.test(character);
}

/** Ranges in order, none of which touch. */
function mergeRanges(ranges: [number, number][]): [number, number][] {
  const merged: [number, number][] = [];
  for (const range of ranges.sort(([a], [b]) => a - b)) {
    const last = merged.at(-1);
    if (last && range[0] <= last[1] + 1) last[1] = Math.max(last[1], range[1]);
    else merged.push([...range]);
  }
  return merged;
}

/** What lies between merged ranges. */
function gapsOf(ranges: [number, number][]): [number, number][] {
  const gaps: [number, number][] = [];
  let next = 0;
  for (const [first, last] of ranges) {
    if (first > next) gaps.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= lastPoint) gaps.push([next, lastPoint]);
  return gaps;
}

/**
 * Refuses rules that come back to themselves before any character, with
 * something left to follow: they would never begin. Those that end with
 * themselves are loops that may be left.
 */
function checkLeftRecursion(
  rules: readonly (readonly Alternative[])[],
  names: readonly string[],
): void {
  const empty = emptyRules(rules);
  /** The rules that a rule may begin with, and whether something follows them there */
  const edges = rules.map((alternatives) =>
    alternatives.flatMap((alternative) => {
      const found: { to: number; isLast: boolean }[] = [];
      for (const [i, element] of alternative.entries()) {
        if (!("rule" in element)) break;
        const isLast = i === alternative.length - 1;
        found.push({ to: element.rule, isLast });
        if (!empty[element.rule]) break;
      }
      return found;
    })
  );
  const components = componentsOf(
    edges.map((each) => each.map(({ to }) => to)),
  );
  for (const [from, each] of edges.entries()) {
    for (const { to, isLast } of each) {
      if (isLast || components[from] !== components[to]) continue;
      throw new UnsupportedError(
        `Cannot constrain to the grammar: rule ${
          names[from]
        } begins with itself (left recursion)`,
      );
    }
  }
}

/** Which rules may be empty: those with an alternative all of whose elements are such rules. */
function emptyRules(rules: readonly (readonly Alternative[])[]): boolean[] {
  const empty = rules.map(() => false);
  const found: number[] = [];
  const settle = (rule: number) => {
    if (!empty[rule]) found.push(rule);
    empty[rule] = true;
  };
  /** By rule: the alternatives that it stands in, and how many of their elements are not known to be empty */
  const uses: { readonly rule: number; left: number }[][] = rules.map(() => []);
  for (const [rule, alternatives] of rules.entries()) {
    for (const alternative of alternatives) {
      const named = alternative.filter((element) => "rule" in element);
      if (named.length < alternative.length) continue;
      const use = { rule, left: named.length };
      for (const element of named) uses[element.rule].push(use);
      if (use.left === 0) settle(rule);
    }
  }
  for (let rule = found.pop(); rule !== undefined; rule = found.pop()) {
    for (const use of uses[rule]) {
      if (--use.left === 0) settle(use.rule);
    }
  }
  return empty;
}

/** The number of the strongly connected component of each node (Tarjan 1972), without recursion. */
function componentsOf(edges: readonly (readonly number[])[]): number[] {
  const order = edges.map(() => -1), low = edges.map(() => 0);
  const component = edges.map(() => -1);
  const stack: number[] = [];
  let visited = 0, components = 0;
  for (const root of edges.keys()) {
    if (order[root] >= 0) continue;
    const open: { node: number; next: number }[] = [{ node: root, next: 0 }];
    while (open.length > 0) {
      const frame = open[open.length - 1];
      const { node } = frame;
      if (frame.next === 0) {
        order[node] = low[node] = visited++;
        stack.push(node);
      }
      const to = edges[node][frame.next++];
      if (to !== undefined) {
        if (order[to] < 0) open.push({ node: to, next: 0 });
        else if (component[to] < 0) low[node] = Math.min(low[node], order[to]);
        continue;
      }
      open.pop();
      const above = open.at(-1);
      if (above) low[above.node] = Math.min(low[above.node], low[node]);
      if (low[node] < order[node]) continue;
      let member: number;
      do {
        member = stack.pop()!;
        component[member] = components;
      } while (member !== node);
      components++;
    }
  }
  return component;
}
