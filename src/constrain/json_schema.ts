/**
 * JSON schemas as the constraint's module takes them: what it does not support is
 * refused by name, what only describes is left out, references are resolved.
 */
import { LimitError, UnsupportedError, UsageError } from "../errors.ts";
import { isEndless } from "./endless.ts";
import { isObject } from "../formats/json.ts";
import { shown } from "../options.ts";

/** A JSON schema: an object, or `true` or `false`. */
export type JsonSchema = boolean | Readonly<Record<string, unknown>>;

/** A schema's parts, each a schema of its own. */
export interface SchemaPart {
  /** Where it stands: `#/properties/name` */
  readonly path: string;
  readonly schema: JsonSchema;
}

/** A schema that is made of supported keywords alone. */
export interface PlainSchema {
  /** The whole, with what it refers to in `$defs` */
  readonly schema: JsonSchema;
  /** Its parts, those within others before them */
  readonly parts: readonly SchemaPart[];
}

/** Most schemas, and values of `enum`, that one may be made of, and most levels of them. */
const mostSchemas = 20_000, mostLevels = 100;

/** A `multipleOf`, and where it stands. */
interface Multiple {
  readonly value: number;
  readonly path: string;
}

/** Most remainders of a number. */
const mostUnits = 20_000;

/** Keywords that restrict by themselves. */
const assertions = new Set(
  [
    "type enum const required",
    "minItems maxItems minProperties maxProperties",
    "minLength maxLength pattern",
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf",
  ].join(" ").split(" "),
);

const types = "null boolean object array number string integer".split(" ");

/** What keywords may be: else they are no schema's. */
const values: readonly [
  names: string,
  is: (value: unknown) => boolean,
  what: string,
][] = [
  [
    "type",
    (value) =>
      Array.isArray(value) && value.length > 0 && value.every(isType) ||
      isType(value),
    `one of ${types.join(", ")}, or a list of these`,
  ],
  ["enum", Array.isArray, "a list"],
  [
    "required",
    (value) => Array.isArray(value) && value.every(isText),
    "a list of texts",
  ],
  [
    "minItems maxItems minProperties maxProperties minLength maxLength",
    (value) => Number.isInteger(value) && Number(value) >= 0,
    "a whole number from 0 up",
  ],
  ["pattern format", isText, "a text"],
  ["minimum maximum", isNumber, "a number"],
  [
    "multipleOf",
    (value) => isNumber(value) && Number(value) > 0,
    "a number above 0",
  ],
  [
    "exclusiveMinimum exclusiveMaximum",
    // Draft 4 has true and false.
    (value) => isNumber(value) || typeof value === "boolean",
    "a number",
  ],
  ["uniqueItems", (value) => typeof value === "boolean", "true or false"],
];

const valueOf = new Map(
  values.flatMap(([names, is, what]) =>
    names.split(" ").map((name) => [name, { is, what }] as const)
  ),
);

/** Keywords whose value is a schema, a list of schemas, or an object of schemas. */
const one = new Set(["additionalProperties", "items", "additionalItems"]);
const lists = new Set(["allOf", "anyOf", "oneOf", "prefixItems"]);
const maps = new Set(["properties", "patternProperties"]);

/** Keywords that are refused, unless they have no effect. */
const unsupported: Readonly<
  Record<string, (value: unknown, all: Record<string, unknown>) => boolean>
> = {
  not: (value) => value === false,
  if: (_, all) => all.then === undefined && all.else === undefined,
  contains: () => false,
  uniqueItems: (value, { maxItems }) =>
    value === false || maxItems === 0 || maxItems === 1,
  propertyNames: isAny,
  unevaluatedItems: isAny,
  unevaluatedProperties: isAny,
  $dynamicRef: () => false,
  $recursiveRef: () => false,
};

/** Texts that a string may be by `format`. */
const formats = new Set(
  "date-time time date duration email hostname ipv4 ipv6 uuid uri".split(" "),
);

/** How OpenAPI and others say that a number is stored: the least and the most that it may be. */
const numberFormats: Readonly<Record<string, readonly [number?, number?]>> = {
  float: [],
  double: [],
  int: [],
  int8: [-128, 127],
  int16: [-32_768, 32_767],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [],
  uint: [0],
  uint8: [0, 255],
  uint16: [0, 65_535],
  uint32: [0, 2 ** 32 - 1],
  uint64: [0],
};

/** What a draft of before 2019 is called: there, nothing beside `$ref` counts. */
const oldDraft = /draft-0[4-7]\/schema#?$/;

/** By what drafts the module knows what `items` and its like mean. */
const knownDraft =
  /^https?:\/\/json-schema\.org\/(draft\/20(19-09|20-12)|draft-0[467])\/schema#?$/;

function isType(value: unknown): boolean {
  return types.includes(value as string);
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function isNumber(value: unknown): boolean {
  return typeof value === "number";
}

function isAny(value: unknown): boolean {
  return value === true ||
    isObject(value) && Object.keys(value).length === 0;
}

/**
 * What a schema asks for, in supported keywords.
 *
 * @throws {UnsupportedError} naming a keyword that is not supported, and where it stands
 * @throws {UsageError} for what is no schema
 * @throws {LimitError} for one that is too large
 */
export function plainSchema(schema: unknown): PlainSchema {
  if (typeof schema === "boolean") return { schema, parts: [] };
  return new Reader(schema).read();
}

class Reader {
  readonly #root: unknown;
  readonly #isOld: boolean;
  readonly #parts: SchemaPart[] = [];
  /** What is referred to, by where it stands, and its number in `$defs` */
  readonly #targets = new Map<string, { schema: unknown; number: number }>();
  /** Schemas whose references do not lead back to themselves */
  readonly #straight = new Set<unknown>();
  /** Where the innermost schema with an address of its own has that, if there is one around */
  #address?: string;
  readonly #multiples: Multiple[] = [];
  #anchors?: Map<string, [path: string, schema: unknown]>;
  #count = 0;

  constructor(root: unknown) {
    this.#root = root;
    const draft = isObject(root) ? root.$schema : undefined;
    this.#isOld = typeof draft === "string" && oldDraft.test(draft);
  }

  read(): PlainSchema {
    const schema = this.#schema(this.#root, "#", 0) as Record<string, unknown>;
    const definitions: Record<string, unknown> = {};
    // Those that are read refer to more.
    const isCombined = this.#targets.size > 0;
    for (const [path, { schema, number }] of this.#targets) {
      definitions[number] = this.#schema(schema, path, 0);
    }
    checkMultiples(this.#multiples, isCombined);
    if (isEndless(schema, Object.values(definitions))) {
      throw new UnsupportedError(
        "Cannot constrain to the JSON schema: it is unsatisfiable: what it requires requires itself, without end",
      );
    }
    const shared = {
      ...this.#draft(),
      ...(this.#targets.size > 0 && { $defs: definitions }),
    };
    const parts = this.#parts.map(({ path, schema }) => ({
      path,
      schema: isObject(schema) ? { ...schema, ...shared } : schema,
    }));
    return { schema: { ...schema, ...shared }, parts };
  }

  #draft(): Record<string, unknown> {
    const { $schema } = this.#root as Record<string, unknown>;
    return typeof $schema === "string" && knownDraft.test($schema)
      ? { $schema }
      : {};
  }

  /** A schema within the whole, in supported keywords. */
  #schema(schema: unknown, path: string, level: number): JsonSchema {
    if (typeof schema === "boolean") return schema;
    if (!isObject(schema)) {
      throw new UsageError(
        `Cannot use the JSON schema: ${path} is neither an object nor true or false`,
      );
    }
    const { enum: words } = schema;
    this.#count += 1 + (Array.isArray(words) ? words.length : 0);
    if (this.#count > mostSchemas || level > mostLevels) {
      throw new LimitError(
        `Cannot use the JSON schema: it has more than ${mostSchemas} schemas and values of enum in it, or ${mostLevels} levels of them`,
      );
    }
    const given = this.#isOld && typeof schema.$ref === "string"
      ? { $ref: schema.$ref }
      : schema;
    const around = this.#address;
    if (path !== "#" && isAddress(given.$id)) this.#address = `${path}/$id`;
    const plain = this.#keywords(given, path, level + 1);
    this.#address = around;
    this.#parts.push({ path, schema: plain });
    return plain;
  }

  #keywords(
    given: Record<string, unknown>,
    path: string,
    level: number,
  ): Record<string, unknown> {
    const plain: Record<string, unknown> = {};
    const also: JsonSchema[] = [];
    for (const [name, value] of Object.entries(given)) {
      const at = `${path}/${escaped(name)}`;
      if (value === undefined) continue;
      const asked = valueOf.get(name);
      if (asked && !asked.is(value)) {
        throw new UsageError(
          `Cannot use the JSON schema: ${at} is ${
            shown(value)
          }, and not ${asked.what}`,
        );
      }
      if (name === "multipleOf") {
        this.#multiples.push({ value: Number(value), path });
      }
      if (assertions.has(name)) plain[name] = value;
      else if (one.has(name)) plain[name] = this.#oneOrList(value, at, level);
      else if (lists.has(name)) plain[name] = this.#list(value, at, level);
      else if (maps.has(name)) plain[name] = this.#map(value, at, level);
      else if (name === "$ref") plain[name] = this.#reference(value, at);
      else if (name === "format") also.push(formatOf(value, given, at));
      else if (name.startsWith("depend")) {
        also.push(...this.#dependencies(name, value, at, level));
      } else if (
        Object.hasOwn(unsupported, name) && !unsupported[name](value, given)
      ) {
        throw new UnsupportedError(
          `Cannot constrain to the JSON schema: ${name} at ${path} is not supported`,
        );
      }
    }
    if (also.length > 0) {
      plain.allOf = [...plain.allOf as JsonSchema[] ?? [], ...also];
    }
    return withEnum(plain);
  }

  #oneOrList(value: unknown, path: string, level: number): unknown {
    return Array.isArray(value)
      ? this.#list(value, path, level)
      : this.#schema(value, path, level);
  }

  #list(value: unknown, path: string, level: number): JsonSchema[] {
    if (!Array.isArray(value)) {
      throw new UsageError(`Cannot use the JSON schema: ${path} is no list`);
    }
    return value.map((each, i) => this.#schema(each, `${path}/${i}`, level));
  }

  #map(
    value: unknown,
    path: string,
    level: number,
  ): Record<string, JsonSchema> {
    if (!isObject(value)) {
      throw new UsageError(`Cannot use the JSON schema: ${path} is no object`);
    }
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => [
        name,
        this.#schema(each, `${path}/${escaped(name)}`, level),
      ]),
    );
  }

  /** A property that asks for others, or for a schema: it is absent, or they hold. */
  #dependencies(
    name: string,
    value: unknown,
    path: string,
    level: number,
  ): JsonSchema[] {
    const known = ["dependencies", "dependentRequired", "dependentSchemas"];
    if (!known.includes(name)) return [];
    if (!isObject(value)) {
      throw new UsageError(`Cannot use the JSON schema: ${path} is no object`);
    }
    return Object.entries(value).map(([property, asked]) => ({
      anyOf: [
        { properties: { [property]: false } },
        Array.isArray(asked) ? { required: [property, ...asked] } : {
          required: [property],
          allOf: [
            this.#schema(asked, `${path}/${escaped(property)}`, level),
          ],
        },
      ],
    }));
  }

  #reference(reference: unknown, path: string): string {
    if (typeof reference !== "string") {
      throw new UsageError(`Cannot use the JSON schema: ${path} is no text`);
    }
    if (this.#address !== undefined) {
      // Below it, references have another base.
      throw new UnsupportedError(
        `Cannot constrain to the JSON schema: ${this.#address} with references below it is not supported`,
      );
    }
    const [where, schema] = this.#find(reference, path);
    this.#checkCircle(schema, path);
    if (schema === this.#root) return "#";
    const known = this.#targets.get(where);
    const number = known?.number ?? this.#targets.size;
    if (!known) this.#targets.set(where, { schema, number });
    return `#/$defs/${number}`;
  }

  /** Where a reference leads, and what is there. */
  #find(reference: string, path: string): [path: string, schema: unknown] {
    const { $id } = this.#root as Record<string, unknown>;
    const base = typeof $id === "string" ? $id.replace(/#$/, "") : "";
    const local = base !== "" && reference.startsWith(base)
      ? reference.slice(base.length) || "#"
      : reference;
    if (local === "#") return ["#", this.#root];
    const refused = (why: string) =>
      new UnsupportedError(
        `Cannot constrain to the JSON schema: ${path} refers to ${
          JSON.stringify(reference)
        }, ${why}`,
      );
    if (!local.startsWith("#")) throw refused("which is another document");
    if (!local.startsWith("#/")) {
      const found = this.#anchor(decoded(local.slice(1)));
      if (!found) throw refused("which is not there");
      return found;
    }
    let target = this.#root;
    for (const part of decoded(local.slice(2)).split("/")) {
      const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
      const isThere = typeof target === "object" && target !== null &&
        Object.hasOwn(target, name);
      if (!isThere) throw refused("which is not there");
      target = (target as Record<string, unknown>)[name];
    }
    return [local, target];
  }

  #anchor(name: string): [path: string, schema: unknown] | undefined {
    if (!this.#anchors) {
      const anchors = new Map<string, [string, unknown]>();
      const visit = (value: unknown, path: string, level: number) => {
        if (typeof value !== "object" || value === null) return;
        if (level > mostLevels) return;
        const { $anchor, $id } = value as Record<string, unknown>;
        // Below an address of its own, names are another document's.
        if (isAddress($id) && path !== "#") return;
        if (typeof $anchor === "string") anchors.set($anchor, [path, value]);
        if (typeof $id === "string" && $id.startsWith("#")) {
          anchors.set($id.slice(1), [path, value]);
        }
        for (const [key, each] of Object.entries(value)) {
          visit(each, `${path}/${escaped(key)}`, level + 1);
        }
      };
      visit(this.#root, "#", 0);
      this.#anchors = anchors;
    }
    return this.#anchors.get(name);
  }

  /** References that lead to themselves ask for nothing. */
  #checkCircle(first: unknown, path: string): void {
    const seen = new Set<unknown>();
    let target = first;
    while (
      isObject(target) && typeof target.$ref === "string" &&
      !this.#straight.has(target)
    ) {
      if (seen.has(target)) {
        throw new UnsupportedError(
          `Cannot constrain to the JSON schema: ${path} leads back to itself`,
        );
      }
      seen.add(target);
      target = this.#find(target.$ref, path)[1];
    }
    for (const schema of seen) this.#straight.add(schema);
  }
}

/**
 * Remainders of numbers are states: there are as many as `multipleOf` has units
 * of its last digit. Where schemas are combined, numbers may have to be multiples
 * of several.
 */
function checkMultiples(
  multiples: readonly Multiple[],
  hasReferences: boolean,
): void {
  const isCombined = hasReferences ||
    multiples.some(({ path }) =>
      /\/(allOf|anyOf|oneOf|depend\w+)\//.test(path)
    );
  const places = Math.max(...multiples.map(({ value }) => placesOf(value)));
  let all = 1;
  for (const { value, path } of multiples) {
    const common = isCombined ? places : placesOf(value);
    const units = Math.round(value * 10 ** common);
    all = isCombined ? all / gcd(all, units) * units : units;
    if (all <= mostUnits) continue;
    throw new LimitError(
      `Cannot constrain to the JSON schema: with multipleOf ${value} at ${path} numbers have ${all} remainders, the limit is ${mostUnits}`,
    );
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Decimal places of a number. */
function placesOf(value: number): number {
  const [digits, exponent = "0"] = String(value).split("e");
  const [, decimals = ""] = digits.split(".");
  return Math.max(0, decimals.length - Number(exponent));
}

/** What a format asks for, by the type of what has it. */
function formatOf(
  value: unknown,
  { type }: Record<string, unknown>,
  path: string,
): JsonSchema {
  const name = String(value);
  if (formats.has(name)) return { format: name };
  const isNumber = [type].flat().every((each) =>
    each === "integer" || each === "number" || each === "null"
  );
  if (isNumber && Object.hasOwn(numberFormats, name)) {
    const [minimum, maximum] = numberFormats[name];
    return { minimum, maximum };
  }
  throw new UnsupportedError(
    `Cannot constrain to the JSON schema: format ${
      JSON.stringify(name)
    } at ${path} is not supported`,
  );
}

/** Whether an `$id` is an address, and no name within a document. */
function isAddress(id: unknown): boolean {
  return typeof id === "string" && !id.startsWith("#");
}

/** Has a choice of constants as an `enum`, which is known to be disjoint, and soon compiled. */
function withEnum(plain: Record<string, unknown>): Record<string, unknown> {
  const { anyOf, oneOf, ...rest } = plain;
  const choices = (anyOf ?? oneOf) as JsonSchema[] | undefined;
  const isOther = anyOf && oneOf || Object.hasOwn(plain, "enum") ||
    Object.hasOwn(plain, "const");
  if (!choices?.length || isOther) return plain;
  const constants = choices.map(constantOf);
  if (constants.includes(undefined)) return plain;
  const distinct = new Set(constants);
  if (oneOf && distinct.size < constants.length) return plain;
  return { ...rest, enum: [...distinct] };
}

/** The only value of a schema, where that is a text, a number, a truth value or null, and nothing else is asked. */
function constantOf(schema: JsonSchema): unknown {
  if (!isObject(schema) || !Object.hasOwn(schema, "const")) return undefined;
  const { const: value, type = typeof value, ...rest } = schema;
  const ofType = type === typeof value ||
    type === "integer" && Number.isInteger(value);
  const isAlone = ofType && Object.keys(rest).length === 0;
  return isAlone && (value === null || typeof value !== "object")
    ? value
    : undefined;
}

/** A name in a JSON pointer. */
function escaped(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}

function decoded(pointer: string): string {
  try {
    return decodeURIComponent(pointer);
  } catch {
    return pointer;
  }
}
