/** What a template may cost. Templates come with model files, so from strangers. */
import { type Environment, Interpreter } from "@huggingface/jinja";
import { LimitError } from "../errors.ts";

/** Time that one rendering may take, in milliseconds. A long chat takes some ten. */
const MAX_TIME = 3000;
/** Characters that the engine's helpers may read and make in one rendering. */
const MAX_WORK = 1 << 28;
/** Characters that count as much as a list element. */
const CHARACTERS_PER_ELEMENT = 64;
/** Longest text that a template may make, in UTF-16 units. */
const MAX_TEXT = 1 << 22;
/** Largest list or dictionary, with all that it holds, however often it holds it. */
export const MAX_SIZE: number = 1 << 17;
/** Most elements that loops in one another may run over. */
const MAX_LOOPS = 1 << 19;

/** @throws {LimitError} where what a template makes is too large */
export function checkSize(what: string, size: number, limit: number): void {
  if (size > limit) {
    throw new LimitError(
      `Cannot write the chat: its template makes ${what} of size ${
        Math.ceil(size)
      }, the limit is ${limit}`,
    );
  }
}

type Statement = Parameters<Interpreter["evaluate"]>[0];
type Value = ReturnType<Interpreter["evaluate"]>;

/** A node of a template's syntax tree: what is read here of the engine's, whose types are not exported. */
interface Node {
  readonly type: string;
  readonly [part: string]: unknown;
}

/** A node of which the value is known, so that what was measured is not evaluated again. */
class Known implements Node {
  readonly type = "Known";
  readonly [part: string]: unknown;
  constructor(readonly value: Value) {}
}

/** Arguments of a helper, by position and by name. */
interface Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

/**
 * Stops a template that makes too large values or does not end. The engine's
 * own helpers, such as filters, look at no clock, so what one of them reads and
 * makes is measured before it runs.
 */
export class BoundedInterpreter extends Interpreter {
  readonly #deadline = performance.now() + MAX_TIME;
  readonly #sizes = new WeakMap<Value, number>();
  /** Methods of texts that are measured. */
  readonly #methods = new WeakSet<Value>();
  /** Nodes whose values are written out. */
  readonly #printed = new WeakSet<Node>();
  /** Nodes that give the lists that loops run over. */
  readonly #iterables = new WeakSet<Node>();
  /** Elements of the lists that loops are running over. */
  #looping = 0;
  #work = 0;

  override evaluate(statement: Statement, environment: Environment): Value {
    // A part of a slice may be missing.
    const node = statement as unknown as Node | undefined;
    if (node instanceof Known) return node.value;
    if (performance.now() > this.#deadline) {
      throw new LimitError(
        `Cannot write the chat: its template has not ended after ${MAX_TIME} ms`,
      );
    }
    const looping = this.#looping;
    try {
      const measured = node && this.#measure(node, environment);
      const result = super.evaluate(
        measured as unknown as Statement,
        environment,
      );
      const size = this.#checkSize(result);
      // A list that is written out becomes a text; texts are put together as they are.
      if (node && this.#printed.has(node) && typeof result.value !== "string") {
        this.#spend(size * CHARACTERS_PER_ELEMENT);
      }
      if (measured) this.#check(measured, result);
      if (node && this.#iterables.has(node)) {
        this.#looping += elementsOf(result)?.length ?? 0;
        checkSize("loops over lists", this.#looping, MAX_LOOPS);
      }
      return result;
    } finally {
      if (node?.type === "For") this.#looping = looping;
    }
  }

  /** Measures what the engine would do with a node; gives the node, its parts evaluated. */
  #measure(node: Node, environment: Environment): Node {
    const known = (part: unknown) =>
      new Known(this.evaluate(part as Statement, environment));
    for (const block of [node.body, node.alternate, node.defaultBlock]) {
      if (!Array.isArray(block)) continue;
      for (const statement of block) this.#printed.add(statement);
    }
    switch (node.type) {
      case "For": {
        const iterable = node.iterable as Node;
        const isFiltered = iterable.type === "SelectExpression";
        this.#iterables.add(isFiltered ? iterable.lhs as Node : iterable);
        return node;
      }
      case "FilterStatement":
        return this.#measure({
          type: "FilterExpression",
          operand: { type: "Program", body: node.body },
          filter: node.filter,
        }, environment);
      case "FilterExpression": {
        const operand = known(node.operand);
        const filter = node.filter as Node;
        const { args, ...evaluated } = argumentsOf(filter, known);
        const name = nameOf(filter);
        if (!free.has(name)) this.#spend(lengthOf(operand.value));
        this.#measureHelper(name, operand.value, evaluated);
        return { ...node, operand, filter: { ...filter, args } };
      }
      case "TestExpression": {
        const operand = known(node.operand);
        this.#spend(lengthOf(operand.value));
        return { ...node, operand };
      }
      case "BinaryExpression": {
        const { value: operator } = node.operator as { value: string };
        if (operator === "and" || operator === "or") return node;
        const left = known(node.left), right = known(node.right);
        this.#spend(comparing(operator, left.value, right.value));
        return { ...node, left, right };
      }
      case "MemberExpression": {
        const object = known(node.object);
        let property = node.property as Node;
        if (property.type === "SliceExpression") {
          this.#spend(lengthOf(object.value));
        } else if (node.computed) {
          property = known(property);
          this.#spend(lengthOf(property.value as Value));
        }
        return { ...node, object, property };
      }
      default:
        return node;
    }
  }

  /** The size of a value with all that it holds, which must not be too large. */
  #checkSize(value: Value): number {
    const total = { size: 0 };
    if (typeof value.value === "string") {
      checkSize("a text", value.value.length, MAX_TEXT);
    } else if (elementsOf(value)) {
      this.#checkTree(value, total);
    }
    return total.size;
  }

  /** Measures what was made of a node, after {@linkcode #measure}. */
  #check(node: Node, result: Value): void {
    switch (node.type) {
      case "FilterExpression":
        if (!free.has(nameOf(node.filter as Node))) this.#spend(costOf(result));
        break;
      case "CallExpression":
      case "ObjectLiteral":
        this.#spend(costOf(result));
        break;
      case "BinaryExpression": {
        const isText = ({ value }: Known) => typeof value?.value === "string";
        // Two texts are put together without a copy.
        if (!isText(node.left as Known) || !isText(node.right as Known)) {
          this.#spend(lengthOf(result));
        }
        break;
      }
      case "MemberExpression": {
        const { value: object } = node.object as Known;
        const property = node.property as Node;
        if (property.type === "SliceExpression") this.#spend(lengthOf(result));
        const name = property instanceof Known
          ? property.value.value
          : property.value;
        if (result.type === "FunctionValue") {
          this.#measureMethod(object, String(name), result);
        }
      }
    }
  }

  /** Has a method measured when it is called. */
  #measureMethod(object: Value, name: string, method: Value): void {
    if (this.#methods.has(method) || typeof object.value !== "string") return;
    this.#methods.add(method);
    const call = method.value as (args: Value[], scope: Environment) => Value;
    const measured: typeof call = (args, scope) => {
      const last = args.at(-1);
      const isNamed = last?.type === "KeywordArgumentsValue";
      this.#spend(lengthOf(object));
      this.#measureHelper(name, object, {
        positional: isNamed ? args.slice(0, -1) : args,
        named: isNamed ? last!.value as Map<string, Value> : new Map(),
      });
      return call(args, scope);
    };
    method.value = measured as typeof method.value;
  }

  /** Measures a filter or a method whose result or work is more than what it is given. */
  #measureHelper(
    name: string,
    operand: Value,
    { positional, named }: Arguments,
  ): void {
    const argument = (i: number, name: string) =>
      (positional[i] ?? named.get(name))?.value;
    const text = typeof operand.value === "string" ? operand.value : undefined;
    const elements = elementsOf(operand) ?? [];
    switch (name) {
      case "indent": {
        const width = Number(argument(0, "width") ?? 4);
        const lines = count(text ?? "", "\n") + 1;
        checkSize("a text", (text ?? "").length + lines * width, MAX_TEXT);
        break;
      }
      case "join": {
        const separator = String(argument(0, "separator") ?? "");
        const number = text?.length ?? elements.length;
        checkSize("a text", number * separator.length, MAX_TEXT);
        break;
      }
      case "map":
      case "sort": {
        // The name of an attribute is taken apart for each element, and in each comparison.
        const attribute = String(
          argument(name === "sort" ? 2 : 0, "attribute") ?? "",
        );
        const times = name === "sort" ? 2 * Math.log2(elements.length + 1) : 1;
        this.#spend(attribute.length * elements.length * times);
        break;
      }
      case "replace":
      case "split": {
        const old = argument(0, "old");
        if (text === undefined) break;
        if (typeof old !== "string") {
          checkSize("a list", countWords(text), MAX_SIZE);
          break;
        }
        this.#spend(text.length * old.length);
        const found = count(text, old);
        if (name === "split") checkSize("a list", found, MAX_SIZE);
        const made = String(argument(1, "new") ?? "").length - old.length;
        checkSize("a text", text.length + found * made, MAX_TEXT);
        break;
      }
      case "tojson": {
        const indent = Number(argument(NaN, "indent") ?? 0);
        const separators = String(argument(NaN, "separators") ?? "").length;
        checkSize("a text", padding(operand, indent, separators, 1), MAX_TEXT);
      }
    }
  }

  #spend(characters: number): void {
    this.#work += characters;
    if (this.#work > MAX_WORK) {
      throw new LimitError(
        `Cannot write the chat: its template reads and makes more than ${MAX_WORK} characters`,
      );
    }
  }

  /**
   * Adds a value and all that it holds to `total`. A list that holds another
   * list twice, and so on, would fill the memory once it is written out.
   *
   * @returns Whether the size cannot change: only a namespace can be assigned to.
   */
  #checkTree(value: Value, total: { size: number }): boolean {
    const known = this.#sizes.get(value);
    if (known !== undefined) {
      total.size += known;
      checkSize("a list", total.size, MAX_SIZE);
      return true;
    }
    const before = total.size;
    const characters = typeof value.value === "string"
      ? value.value.length
      : keyLength(value);
    total.size += 1 + characters / CHARACTERS_PER_ELEMENT;
    checkSize("a list", total.size, MAX_SIZE);
    const elements = elementsOf(value);
    if (!elements) return true;
    let isFixed = value.type !== "NamespaceValue";
    for (const element of elements) {
      if (!this.#checkTree(element, total)) isFixed = false;
    }
    if (isFixed) this.#sizes.set(value, total.size - before);
    return isFixed;
  }
}

/** Filters that look at no element, and make nothing. */
const free = new Set(["default", "first", "last", "length", "list", "safe"]);

function nameOf(filter: Node): string {
  return String((filter.callee as Node | undefined)?.value ?? filter.value);
}

/** Evaluates the arguments of a filter; `args` are its nodes again. */
function argumentsOf(
  { args = [] }: Node,
  known: (part: unknown) => Known,
): Arguments & { readonly args: readonly Node[] } {
  const positional: Value[] = [], named = new Map<string, Value>();
  const nodes = (args as readonly Node[]).map((arg) => {
    switch (arg.type) {
      case "KeywordArgumentExpression": {
        const value = known(arg.value);
        named.set((arg.key as { value: string }).value, value.value);
        return { ...arg, value };
      }
      case "SpreadExpression": {
        const argument = known(arg.argument);
        positional.push(...elementsOf(argument.value) ?? []);
        return { ...arg, argument };
      }
      case "KeywordSpreadExpression": {
        const argument = known(arg.argument);
        const { value } = argument.value;
        if (value instanceof Map) {
          for (const [key, each] of value) named.set(key, each);
        }
        return { ...arg, argument };
      }
      default: {
        const value = known(arg);
        positional.push(value.value);
        // Some filters take literals only.
        return arg.type === "StringLiteral" ? arg : value;
      }
    }
  });
  return { positional, named, args: nodes };
}

/** What a list, dictionary or namespace holds. */
function elementsOf({ value }: Value): readonly Value[] | undefined {
  if (Array.isArray(value)) return value;
  return value instanceof Map ? [...value.values()] : undefined;
}

/** Characters of a dictionary's keys. */
function keyLength({ value }: Value): number {
  if (!(value instanceof Map)) return 0;
  return [...value.keys()].reduce((sum, { length }) => sum + length, 0);
}

/** Characters of a text, elements of a list. */
function lengthOf(value: Value): number {
  return typeof value.value === "string"
    ? value.value.length
    : elementsOf(value)?.length ?? 1;
}

/** What a value takes that a helper made, in characters. */
function costOf(value: Value): number {
  const elements = elementsOf(value);
  return elements
    ? elements.length * CHARACTERS_PER_ELEMENT + keyLength(value)
    : lengthOf(value);
}

/** Characters that an operator reads, at worst. */
function comparing(operator: string, left: Value, right: Value): number {
  const pattern = lengthOf(left), size = lengthOf(right);
  switch (operator) {
    case "in":
    case "not in":
      return typeof left.value === "string" && typeof right.value === "string"
        ? pattern * size
        : pattern + size;
    case "==":
    case "!=":
      return pattern === size ? size : 0;
    default:
      return 0;
  }
}

/** How often a text has a part; the empty one is between all characters. */
function count(text: string, part: string): number {
  if (part === "") return text.length + 1;
  let found = 0;
  for (let at = text.indexOf(part); at >= 0; found++) {
    at = text.indexOf(part, at + part.length);
  }
  return found;
}

function countWords(text: string): number {
  const word = /\S+/g;
  let found = 0;
  while (word.test(text)) found++;
  return found;
}

/** Characters of white space and separators that stand between the elements of a value as JSON. */
function padding(
  value: Value,
  indent: number,
  separators: number,
  depth: number,
): number {
  const elements = elementsOf(value) ?? [];
  const own = (elements.length + 1) * (indent * depth + separators);
  return elements.reduce(
    (sum, each) => sum + padding(each, indent, separators, depth + 1),
    own,
  );
}
