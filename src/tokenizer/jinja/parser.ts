/** From a template to functions that write it. The grammar is Jinja's, with its loop controls and Transformers' `generation`. */
import { applyFilter, testNamed } from "./filters.ts";
import { type Token, tokenize } from "./lexer.ts";
import type { Budget } from "./limits.ts";
import { callValue } from "./methods.ts";
import {
  attribute,
  choose,
  item,
  operate,
  signed,
  slice,
} from "./operators.ts";
import {
  Args,
  Attributes,
  Callable,
  compare,
  contains,
  elements,
  equals,
  Float,
  isTrue,
  itemsOf,
  orElse,
  TemplateFault,
  textOf,
  Tuple,
  Undefined,
  type Value,
  View,
} from "./values.ts";

/** Names that a part of a template sees. */
export class Scope {
  readonly #names = new Map<string, Value>();
  constructor(readonly budget: Budget, readonly parent?: Scope) {}
  /** What a name stands for here. */
  get(name: string): Value {
    // deno-lint-ignore no-this-alias -- goes up the scopes
    for (let scope: Scope | undefined = this; scope; scope = scope.parent) {
      const value = scope.#names.get(name);
      if (value !== undefined) return value;
    }
    return new Undefined(`'${name}'`);
  }
  /** Gives a name a value, which ends with the scope. */
  set(name: string, value: Value): void {
    this.#names.set(name, value);
  }
}

type Expression = (scope: Scope) => Value;
/** Writes a text; or says that the loop around it ends, or goes on. */
type Statement = (scope: Scope, out: Output) => void;
/** Sets names to a value. */
type Target = (value: Value, scope: Scope) => void;

/** A text that is being written. */
class Output {
  readonly parts: string[] = [];
  length = 0;
  write(text: string): void {
    this.length += text.length;
    if (text !== "") this.parts.push(text);
  }
}

class LoopControl extends Error {
  constructor(readonly ends: boolean) {
    super(`'${ends ? "break" : "continue"}' outside loop`);
  }
}

/** The text that statements write. */
function written(body: Statement, scope: Scope): string {
  const out = new Output();
  body(scope, out);
  scope.budget.text(out.length);
  return out.parts.join("");
}

/**
 * Parses a template.
 *
 * @returns What writes it, given the names that it sees.
 * @throws {TemplateFault} The template is no Jinja, or has what a template on its own cannot have.
 */
export function parseTemplate(template: string): (scope: Scope) => string {
  const body = new Parser(tokenize(template)).template();
  return (scope) => written(body, scope);
}

interface Parameter {
  readonly name: string;
  readonly otherwise?: Expression;
}

class Parser {
  #at = 0;

  constructor(readonly tokens: readonly Token[]) {}

  template(): Statement {
    const body = this.#body();
    if (this.#token.type !== "end") throw this.#unexpected();
    return body;
  }

  get #token(): Token {
    return this.tokens[this.#at];
  }

  #unexpected(): TemplateFault {
    const { type, value } = this.#token;
    return new TemplateFault(
      type === "end"
        ? "unexpected end of template"
        : `unexpected ${value === "" ? type : JSON.stringify(value)}`,
    );
  }

  #is(type: Token["type"], value?: string | number): boolean {
    const token = this.#token;
    return token.type === type &&
      (value === undefined || token.value === value);
  }

  /** Goes on behind a token, if it is the next. */
  #skip(type: Token["type"], value?: string): boolean {
    const isNext = this.#is(type, value);
    if (isNext) this.#at++;
    return isNext;
  }

  #sign(value: string): boolean {
    return this.#skip("operator", value);
  }

  #expect(type: Token["type"], value?: string): string {
    const token = this.#token;
    if (!this.#skip(type, value)) throw this.#unexpected();
    return String(token.value);
  }

  /** Statements up to a block with one of these names, which is not taken. */
  #body(...ends: string[]): Statement {
    const statements: Statement[] = [];
    while (true) {
      const token = this.#token;
      if (token.type === "data") {
        this.#at++;
        const { value } = token;
        statements.push((_, out) => out.write(value));
      } else if (this.#skip("{{")) {
        const value = this.#tuple();
        this.#expect("}}");
        statements.push((scope, out) =>
          out.write(textOf(value(scope), scope.budget))
        );
      } else if (this.#is("{%")) {
        const next = this.tokens[this.#at + 1];
        if (next.type === "name" && ends.includes(next.value)) break;
        this.#at++;
        statements.push(this.#statement());
      } else break;
    }
    return (scope, out) => {
      for (const statement of statements) {
        scope.budget.tick();
        statement(scope, out);
      }
    };
  }

  /** The name of the block that ends a body. */
  #end(...names: string[]): string {
    this.#expect("{%");
    const name = this.#expect("name");
    if (!names.includes(name)) {
      this.#at--;
      throw this.#unexpected();
    }
    return name;
  }

  #blockEnd(name: string): void {
    this.#end(name);
    this.#expect("%}");
  }

  #statement(): Statement {
    const name = this.#expect("name");
    switch (name) {
      case "if":
        return this.#if();
      case "for":
        return this.#for();
      case "set":
        return this.#set();
      case "macro":
        return this.#macro();
      case "call":
        return this.#call();
      case "with":
        return this.#with();
      case "filter":
        return this.#filterBlock();
      case "generation": {
        this.#expect("%}");
        const body = this.#body("endgeneration");
        this.#blockEnd("endgeneration");
        return (scope, out) => body(new Scope(scope.budget, scope), out);
      }
      case "break":
      case "continue":
        this.#expect("%}");
        return () => {
          throw new LoopControl(name === "break");
        };
      default:
        throw new TemplateFault(`Encountered unknown tag '${name}'.`);
    }
  }

  #if(): Statement {
    const condition = this.#tuple(false);
    this.#expect("%}");
    const body = this.#body("elif", "else", "endif");
    const end = this.#end("elif", "else", "endif");
    let otherwise: Statement = () => {};
    if (end === "elif") otherwise = this.#if();
    else {
      this.#expect("%}");
      if (end === "else") {
        otherwise = this.#body("endif");
        this.#blockEnd("endif");
      }
    }
    return (scope, out) =>
      (isTrue(condition(scope)) ? body : otherwise)(scope, out);
  }

  #for(): Statement {
    const target = this.#target();
    this.#expect("name", "in");
    const values = this.#tuple(false, "recursive");
    const condition = this.#skip("name", "if") ? this.#expression() : undefined;
    const isRecursive = this.#skip("name", "recursive");
    this.#expect("%}");
    const body = this.#body("else", "endfor");
    let otherwise: Statement = () => {};
    const hasElse = this.#end("else", "endfor") === "else";
    this.#expect("%}");
    if (hasElse) {
      otherwise = this.#body("endfor");
      this.#blockEnd("endfor");
    }
    const run = (value: Value, scope: Scope, out: Output, depth: number) => {
      const { budget } = scope;
      const all = elements(value);
      budget.loop(all.length, () => {
        const kept = condition
          ? all.filter((each) => {
            const inner = new Scope(budget, scope);
            target(each, inner);
            return isTrue(condition(inner));
          })
          : all;
        const again = isRecursive
          ? (args: Args) => {
            const inner = new Output();
            run(args.positional[0] ?? null, scope, inner, depth + 1);
            budget.text(inner.length);
            return inner.parts.join("");
          }
          : undefined;
        let changing: Value = new Undefined("'changed'");
        const changed = new Callable("changed", (args) => {
          const value = [...args.positional];
          const isSame = equals(value, changing, budget);
          changing = value;
          return !isSame;
        });
        for (let i = 0; i < kept.length; i++) {
          const inner = new Scope(budget, scope);
          inner.set("loop", loopAt(kept, i, depth, changed, again));
          target(kept[i], inner);
          budget.tick();
          try {
            body(inner, out);
          } catch (error) {
            if (!(error instanceof LoopControl)) throw error;
            if (error.ends) break;
          }
        }
        if (kept.length === 0) otherwise(new Scope(budget, scope), out);
      });
    };
    return (scope, out) => run(values(scope), scope, out, 1);
  }

  #set(): Statement {
    const target = this.#target(true);
    if (this.#sign("=")) {
      const value = this.#tuple();
      this.#expect("%}");
      return (scope) => target(value(scope), scope);
    }
    const filter = this.#filters();
    this.#expect("%}");
    const body = this.#body("endset");
    this.#blockEnd("endset");
    return (scope) => {
      const text = written(body, new Scope(scope.budget, scope));
      target(filter(text, scope), scope);
    };
  }

  #macro(): Statement {
    const name = this.#expect("name");
    const parameters = this.#parameters();
    this.#expect("%}");
    const begin = this.#at;
    const body = this.#body("endmacro");
    const uses = this.#namesFrom(begin);
    this.#blockEnd("endmacro");
    return (scope) => {
      scope.set(name, macro(name, parameters, body, uses, scope));
    };
  }

  #call(): Statement {
    const parameters = this.#is("operator", "(") ? this.#parameters() : [];
    const begin = this.#at;
    const callee = this.#unary(false);
    const calls = this.lastCall;
    if (!calls || begin === this.#at) throw this.#unexpected();
    this.#expect("%}");
    const bodyAt = this.#at;
    const body = this.#body("endcall");
    const uses = this.#namesFrom(bodyAt);
    this.#blockEnd("endcall");
    return (scope, out) => {
      const caller = macro("caller", parameters, body, uses, scope);
      const inner = new Scope(scope.budget, scope);
      inner.set(CALLER, caller);
      out.write(textOf(callee(inner), scope.budget));
    };
  }

  #with(): Statement {
    const assignments: [Target, Expression][] = [];
    while (!this.#is("%}")) {
      if (assignments.length > 0) this.#expect("operator", ",");
      const target = this.#target();
      this.#expect("operator", "=");
      assignments.push([target, this.#expression()]);
    }
    this.#expect("%}");
    const body = this.#body("endwith");
    this.#blockEnd("endwith");
    return (scope, out) => {
      const inner = new Scope(scope.budget, scope);
      const values = assignments.map(([, value]) => value(scope));
      assignments.forEach(([target], i) => target(values[i], inner));
      body(inner, out);
    };
  }

  #filterBlock(): Statement {
    // The first filter stands without a bar.
    const filter = this.#filters(true);
    this.#expect("%}");
    const body = this.#body("endfilter");
    this.#blockEnd("endfilter");
    return (scope, out) => {
      const text = written(body, new Scope(scope.budget, scope));
      out.write(textOf(filter(text, scope), scope.budget));
    };
  }

  /** Names in parentheses, with what they are where none is given. */
  #parameters(): Parameter[] {
    this.#expect("operator", "(");
    const parameters: Parameter[] = [];
    while (!this.#sign(")")) {
      if (parameters.length > 0) this.#expect("operator", ",");
      const name = this.#expect("name");
      const otherwise = this.#sign("=") ? this.#expression() : undefined;
      parameters.push({ name, otherwise });
    }
    return parameters;
  }

  /** Which names the tokens from a place to here hold. */
  #namesFrom(begin: number): ReadonlySet<string> {
    const names = this.tokens.slice(begin, this.#at)
      .filter(({ type }) => type === "name").map(({ value }) => String(value));
    return new Set(names);
  }

  /** What is assigned to: a name, several, or an attribute of a namespace. */
  #target(takesNamespace = false): Target {
    const one = (): Target => {
      if (this.#sign("(")) {
        const inner = this.#target();
        this.#expect("operator", ")");
        return inner;
      }
      const name = this.#expect("name");
      if (!takesNamespace || !this.#sign(".")) {
        return (value, scope) => scope.set(name, value);
      }
      const key = this.#expect("name");
      return (value, scope) => {
        const space = scope.get(name);
        if (!(space instanceof Attributes) || space.name !== "namespace") {
          throw new TemplateFault(
            "cannot assign attribute on non-namespace object",
          );
        }
        space.values.set(key, value);
      };
    };
    const targets = [one()];
    let isOne = true;
    while (this.#sign(",")) {
      isOne = false;
      if (!this.#is("name") && !this.#is("operator", "(")) break;
      targets.push(one());
    }
    if (isOne) return targets[0];
    return (value, scope) => {
      const items = elements(value);
      if (items.length !== targets.length) {
        throw new TemplateFault(
          `cannot unpack ${items.length} values into ${targets.length} names`,
        );
      }
      targets.forEach((target, i) => target(items[i], scope));
    };
  }

  /** An expression, or several with commas between: a tuple. */
  #tuple(takesCondition = true, end?: string): Expression {
    const one = () => takesCondition ? this.#expression() : this.#or();
    const isEnd = () =>
      this.#is("}}") || this.#is("%}") || this.#is("operator", ")") ||
      end !== undefined && this.#is("name", end);
    if (isEnd()) throw this.#unexpected();
    const first = one();
    if (!this.#is("operator", ",")) return first;
    const all = [first];
    while (this.#sign(",") && !isEnd()) all.push(one());
    return (scope) => new Tuple(all.map((each) => each(scope)));
  }

  #expression(): Expression {
    let value = this.#or();
    while (this.#skip("name", "if")) {
      const condition = this.#or();
      const first = value;
      const otherwise: Expression = this.#skip("name", "else")
        ? this.#expression()
        : () => new Undefined("the inline if-expression without else");
      value = (scope) => (isTrue(condition(scope)) ? first : otherwise)(scope);
    }
    return value;
  }

  #or(): Expression {
    return this.#joined("or", () => this.#joined("and", () => this.#not()));
  }

  #joined(sign: "and" | "or", next: () => Expression): Expression {
    let value = next();
    while (this.#skip("name", sign)) {
      const [left, right] = [value, next()];
      value = (scope) => choose(sign, left(scope), () => right(scope));
    }
    return value;
  }

  #not(): Expression {
    if (!this.#skip("name", "not")) return this.#comparison();
    const value = this.#not();
    return (scope) => !isTrue(value(scope));
  }

  #comparison(): Expression {
    const first = this.#binary(0);
    const rest: [string, Expression][] = [];
    while (true) {
      const sign = this.#comparisonSign();
      if (sign === undefined) break;
      rest.push([sign, this.#binary(0)]);
    }
    if (rest.length === 0) return first;
    return (scope) => {
      let left = first(scope);
      for (const [sign, next] of rest) {
        const right = next(scope);
        if (!compares(sign, left, right, scope.budget)) return false;
        left = right;
      }
      return true;
    };
  }

  #comparisonSign(): string | undefined {
    for (const sign of ["==", "!=", "<=", ">=", "<", ">"]) {
      if (this.#sign(sign)) return sign;
    }
    if (this.#skip("name", "in")) return "in";
    const next = this.tokens[this.#at + 1];
    const isNotIn = this.#is("name", "not") && next.type === "name" &&
      next.value === "in";
    if (!isNotIn) return undefined;
    this.#at += 2;
    return "not in";
  }

  /** Operators between two values, the loosest first. */
  #binary(level: number): Expression {
    if (level === levels.length) return this.#unary();
    let value = this.#binary(level + 1);
    while (true) {
      const sign = levels[level].find((sign) => this.#sign(sign));
      if (sign === undefined) return value;
      const [left, right] = [value, this.#binary(level + 1)];
      value = sign === "~"
        ? ((scope) => {
          const { budget } = scope;
          const [a, b] = [left(scope), right(scope)];
          const [x, y] = [textOf(a, budget), textOf(b, budget)];
          budget.text(x.length + y.length);
          return x + y;
        })
        : (scope) => operate(sign, left(scope), right(scope), scope.budget);
    }
  }

  #unary(takesFilters = true): Expression {
    let value: Expression;
    const sign = ["-", "+"].find((sign) => this.#sign(sign));
    if (sign !== undefined) {
      const inner = this.#unary(false);
      value = (scope) => signed(sign, inner(scope));
    } else value = this.#primary();
    value = this.#postfix(value);
    return takesFilters ? this.#filtersAndTests(value) : value;
  }

  #primary(): Expression {
    const token = this.#token;
    this.#at++;
    switch (token.type) {
      case "name": {
        if (token.value in constants) {
          const value = constants[token.value];
          return () => value;
        }
        return (scope) => scope.get(token.value);
      }
      case "string": {
        let text = token.value;
        for (
          let next = this.#token;
          next.type === "string";
          next = this.#token
        ) {
          text += next.value;
          this.#at++;
        }
        return () => text;
      }
      case "integer": {
        const { value } = token;
        return () => value;
      }
      case "float": {
        const value = new Float(token.value);
        return () => value;
      }
      case "operator":
        if (token.value === "(") {
          if (this.#sign(")")) return () => new Tuple([]);
          const value = this.#tuple();
          this.#expect("operator", ")");
          return value;
        }
        if (token.value === "[") {
          const all = this.#list("]", () => this.#expression());
          return (scope) => all.map((each) => each(scope));
        }
        if (token.value === "{") {
          const all = this.#list("}", () => {
            const key = this.#expression();
            this.#expect("operator", ":");
            return [key, this.#expression()] as const;
          });
          return (scope) => {
            const map = new Map(all.map(([key, value]) => [
              keyOf(key(scope)),
              value(scope),
            ]));
            for (const key of map.keys()) {
              if (typeof key === "string") scope.budget.spend(key.length);
            }
            return map;
          };
        }
    }
    this.#at--;
    throw this.#unexpected();
  }

  #list<T>(close: string, one: () => T): T[] {
    const all: T[] = [];
    while (!this.#sign(close)) {
      if (all.length > 0) {
        this.#expect("operator", ",");
        if (this.#sign(close)) break;
      }
      all.push(one());
    }
    return all;
  }

  /** Whether what was parsed last ends with a call. */
  lastCall = false;

  #postfix(value: Expression): Expression {
    this.lastCall = false;
    while (true) {
      const inner = value;
      if (this.#sign(".")) {
        this.lastCall = false;
        const token = this.#token;
        this.#at++;
        if (token.type === "name") {
          const name = token.value;
          value = (scope) => attribute(inner(scope), name, scope.budget);
        } else if (token.type === "integer") {
          const index = token.value;
          value = (scope) => item(inner(scope), index, scope.budget);
        } else {
          this.#at--;
          throw this.#unexpected();
        }
      } else if (this.#sign("[")) {
        this.lastCall = false;
        value = this.#subscript(inner);
      } else if (this.#is("operator", "(")) {
        const args = this.#args();
        value = (scope) => callValue(inner(scope), args(scope));
        this.lastCall = true;
      } else return value;
    }
  }

  #subscript(value: Expression): Expression {
    const bounds: (Expression | undefined)[] = [];
    let isSlice = false;
    const bound = () =>
      this.#is("operator", ":") || this.#is("operator", "]")
        ? undefined
        : this.#expression();
    bounds.push(bound());
    while (this.#sign(":")) {
      isSlice = true;
      bounds.push(bound());
    }
    const [key] = bounds;
    const more: Expression[] = [];
    while (!isSlice && this.#sign(",")) more.push(this.#expression());
    this.#expect("operator", "]");
    if (isSlice && bounds.length <= 3) {
      return (scope) =>
        slice(
          value(scope),
          bounds.map((each) => each?.(scope)),
          scope.budget,
        );
    }
    if (isSlice || key === undefined) throw this.#unexpected();
    return (scope) =>
      item(
        value(scope),
        more.length > 0
          ? new Tuple([key, ...more].map((each) => each(scope)))
          : key(scope),
        scope.budget,
      );
  }

  /** Arguments in parentheses, by position, by name, and those that `*` and `**` take out of a value. */
  #args(): (scope: Scope) => Args {
    this.#expect("operator", "(");
    const parts = this.#list(")", () => {
      const spread = ["**", "*"].find((sign) => this.#sign(sign));
      const next = this.tokens[this.#at + 1];
      const isNamed = spread === undefined && this.#is("name") &&
        next.type === "operator" && next.value === "=";
      const name = isNamed ? this.#expect("name") : undefined;
      if (isNamed) this.#at++;
      return { spread, name, value: this.#expression() };
    });
    return (scope) => {
      const positional: Value[] = [];
      const named = new Map<string, Value>();
      for (const { spread, name, value } of parts) {
        const given = value(scope);
        if (name !== undefined) named.set(name, given);
        else if (spread === undefined) positional.push(given);
        else if (spread === "*") {
          for (const each of elements(given)) positional.push(each);
        } else if (given instanceof Map) {
          for (const [key, each] of given) named.set(String(key), each);
        } else throw new TemplateFault("argument after ** must be a mapping");
      }
      const caller = scope.get(CALLER);
      if (caller instanceof Callable) named.set(CALLER, caller);
      return new Args(positional, named);
    };
  }

  /** Filters, each behind a bar; the first may stand without. */
  #filters(beginsBare = false): (value: Value, scope: Scope) => Value {
    const all: { name: string; args: (scope: Scope) => Args }[] = [];
    while (beginsBare && all.length === 0 || this.#sign("|")) {
      let name = this.#expect("name");
      while (this.#sign(".")) name += `.${this.#expect("name")}`;
      const args = this.#is("operator", "(") ? this.#args() : () => new Args();
      all.push({ name, args });
    }
    return (value, scope) =>
      all.reduce(
        (value, { name, args }) =>
          applyFilter(name, value, args(scope), scope.budget),
        value,
      );
  }

  #filtersAndTests(value: Expression): Expression {
    while (true) {
      const inner = value;
      if (this.#is("operator", "|")) {
        const filter = this.#filters();
        value = (scope) => filter(inner(scope), scope);
      } else if (this.#skip("name", "is")) value = this.#test(inner);
      else if (this.#is("operator", "(")) value = this.#postfix(inner);
      else return value;
    }
  }

  #test(value: Expression): Expression {
    const isNegated = this.#skip("name", "not");
    const name = this.#expect("name");
    const token = this.#token;
    let args: (scope: Scope) => Args = () => new Args();
    if (this.#is("operator", "(")) args = this.#args();
    else if (
      ["string", "integer", "float"].includes(token.type) ||
      token.type === "operator" &&
        (token.value === "[" || token.value === "{") ||
      token.type === "name" && !notArguments.has(token.value)
    ) {
      const argument = this.#postfix(this.#primary());
      args = (scope) => new Args([argument(scope)]);
    }
    return (scope) => {
      const test = testNamed(name, args(scope), scope.budget);
      return test(value(scope)) !== isNegated;
    };
  }
}

/** The name by which a call block's body is passed; no template can write it. */
const CALLER = "caller ";

/** Names behind a test that are no argument of it. */
const notArguments = new Set([
  "else",
  "or",
  "and",
  "if",
  "is",
  "in",
  "not",
  "recursive",
]);

const levels: readonly (readonly string[])[] = [
  ["+", "-"],
  ["~"],
  ["*", "//", "/", "%"],
  ["**"],
];

const constants: Readonly<Record<string, Value>> = Object.freeze(
  Object.assign(Object.create(null), {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
  }),
);

function compares(
  sign: string,
  left: Value,
  right: Value,
  budget: Budget,
): boolean {
  switch (sign) {
    case "==":
      return equals(left, right, budget);
    case "!=":
      return !equals(left, right, budget);
    case "in":
      return contains(right, left, budget);
    case "not in":
      return !contains(right, left, budget);
    case "<":
      return compare(left, right, budget) < 0;
    case "<=":
      return compare(left, right, budget) <= 0;
    case ">":
      return compare(left, right, budget) > 0;
    default:
      return compare(left, right, budget) >= 0;
  }
}

function keyOf(key: Value): Value {
  if (key instanceof Float) return key.value;
  if (itemsOf(key) || key instanceof Map || key instanceof View) {
    throw new TemplateFault("a list is no key of a dictionary");
  }
  return key;
}

/** What a loop says of itself in one of its rounds. */
function loopAt(
  all: readonly Value[],
  i: number,
  depth: number,
  changed: Callable,
  again?: (args: Args) => Value,
): Attributes | Callable {
  const values = new Map<string, Value>([
    ["index", i + 1],
    ["index0", i],
    ["revindex", all.length - i],
    ["revindex0", all.length - i - 1],
    ["first", i === 0],
    ["last", i === all.length - 1],
    ["length", all.length],
    ["depth", depth],
    ["depth0", depth - 1],
    [
      "previtem",
      orElse(all[i - 1], new Undefined("there is no previous item, which")),
    ],
    [
      "nextitem",
      orElse(all[i + 1], new Undefined("there is no next item, which")),
    ],
    ["changed", changed],
    [
      "cycle",
      new Callable("cycle", ({ positional }) => {
        if (positional.length > 0) return positional[i % positional.length];
        throw new TemplateFault("no items for cycling given");
      }),
    ],
  ]);
  return new Attributes("LoopContext", values, again);
}

/** A macro, or the body of a call block: what it writes, given its arguments. */
function macro(
  name: string,
  parameters: readonly Parameter[],
  body: Statement,
  uses: ReadonlySet<string>,
  scope: Scope,
): Callable {
  return new Callable(name, ({ positional, named }) => {
    const { budget } = scope;
    budget.tick();
    const inner = new Scope(budget, scope);
    // A call within is none of the call block around.
    inner.set(CALLER, null);
    const rest = new Map(named);
    const caller = rest.get(CALLER) ?? rest.get("caller");
    rest.delete(CALLER);
    rest.delete("caller");
    for (const [i, { name, otherwise }] of parameters.entries()) {
      let value: Value | undefined = positional[i];
      if (value === undefined) value = rest.get(name);
      rest.delete(name);
      if (value === undefined) value = otherwise?.(inner);
      inner.set(
        name,
        orElse(
          value,
          new Undefined(`parameter '${name}' was not provided, which`),
        ),
      );
    }
    if (uses.has("caller")) {
      inner.set("caller", caller ?? new Undefined("No caller defined, which"));
    }
    if (uses.has("varargs")) {
      inner.set("varargs", new Tuple(positional.slice(parameters.length)));
    } else if (positional.length > parameters.length) {
      throw new TemplateFault(
        `macro '${name}' takes not more than ${parameters.length} argument(s)`,
      );
    }
    if (uses.has("kwargs")) inner.set("kwargs", new Map(rest));
    else if (rest.size > 0) {
      throw new TemplateFault(
        `macro '${name}' takes no keyword argument '${[...rest.keys()][0]}'`,
      );
    }
    return written(body, inner);
  });
}
