/**
 * Options as data. A table states of each option, in JSON Schema's words, what
 * it may be, what it does and what the command line calls it; its type, its
 * check, its flag and its help follow from that.
 *
 * @module
 */
import * as v from "valibot";
import { LimitError, UsageError } from "./errors.ts";
import { nearestHint } from "./nearest_name.ts";

/** A schema of valibot's for values of one type, as far as types go. */
export interface SchemaOf<Value> {
  /** What valibot knows its schemas by */
  readonly kind: "schema";
  /** Nothing at run time: what the schema gives */
  readonly "~types"?: TypesOf<Value> | undefined;
}

/** Where valibot keeps a schema's type. */
export interface TypesOf<Value> {
  /** The type of checked values */
  readonly output: Value;
}

/** One option. What `type`, `enum` and the range do not say is said by `schema`. */
export interface OptionSpec {
  /** What it does, in one line; defaults are left to `default`. */
  readonly description: string;
  /** `strings`: one text, or a list of them */
  readonly type?: "boolean" | "integer" | "number" | "string" | "strings";
  /** The words that it may be */
  readonly enum?: readonly string[];
  /** The least that it may be */
  readonly minimum?: number;
  /** What it must be above */
  readonly exclusiveMinimum?: number;
  /** The most that it may be */
  readonly maximum?: number;
  /** What is beyond is no mistake, but more than culm can hold. */
  readonly limit?: number;
  /** What it may be, in full */
  readonly schema?: SchemaOf<unknown>;
  /** What it is where it is left out */
  readonly default?: unknown;
  /** The same in words, where that is not known beforehand */
  readonly defaultText?: string;
  /** The command line's names for it and its value: `-t, --threads <n>` */
  readonly flag?: string;
}

/** Options by name. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** What one option may be given as. */
export type ValueOf<Spec> = Spec extends
  { readonly schema: SchemaOf<infer Value> } ? Value
  : Spec extends { readonly enum: readonly (infer Word)[] } ? Word
  : Spec extends { readonly type: "boolean" } ? boolean
  : Spec extends { readonly type: "string" } ? string
  : Spec extends { readonly type: "strings" } ? string | readonly string[]
  : number;

/** The options of a table. Everything may be left out. */
export type OptionsOf<Table> = {
  -readonly [Name in keyof Table]?: ValueOf<Table[Name]>;
};

/** What one option is once it was checked. */
export type CheckedValue<Spec> = Spec extends { readonly type: "strings" }
  ? readonly string[]
  : ValueOf<Spec>;

/** The options of a table once they were checked: those with a default are there. */
export type Checked<Table> = {
  readonly [Name in keyof Table]: Table[Name] extends
    { readonly default: unknown } ? CheckedValue<Table[Name]>
    : CheckedValue<Table[Name]> | undefined;
};

/**
 * Checks a caller's options, and fills in defaults.
 *
 * @param call what they are given to, for people: `load`
 * @throws {UsageError} for one of another name, or one that is not what its table says
 * @throws {LimitError} for one beyond a limit
 */
export function checkOptions<Table extends OptionTable>(
  call: string,
  table: Table,
  options: unknown,
): Checked<Table> {
  if (typeof options !== "object" || options === null) {
    throw new UsageError(
      `Cannot use ${shown(options)} as options of ${call}: they are an object`,
    );
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(table, name)) continue;
    throw unknownName(name, call, Object.keys(table), options);
  }
  return valuesOf(table, options);
}

/** The options that a table knows, checked as {@linkcode checkOptions} does, whatever else is there. */
export function valuesOf<Table extends OptionTable>(
  table: Table,
  options: Readonly<Record<string, unknown>> | object,
): Checked<Table> {
  const given = options as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(table).map(([name, spec]) => {
      const value = Object.hasOwn(given, name) ? given[name] : undefined;
      return [name, checkValue(name, spec, value ?? spec.default)];
    }),
  ) as Checked<Table>;
}

/**
 * A value, if the option may be that; undefined stays undefined.
 *
 * @throws {UsageError} saying what the option may be
 * @throws {LimitError} where it is beyond a limit
 */
export function checkValue(
  name: string,
  spec: Partial<OptionSpec>,
  value: unknown,
): unknown {
  if (value === undefined) return undefined;
  const schema = schemaOf(spec);
  const { issues, output } = v.safeParse(schema, value, { message: inWords });
  if (issues) throw wrong(name, schema, issues);
  const { limit = Infinity } = spec;
  if (typeof value === "number" && value > limit) {
    throw new LimitError(
      `Cannot use ${name} ${value}: the limit is ${limit}`,
    );
  }
  return output;
}

/** What an option may be, in words: `a number from 0 to 1`. */
export function expectationOf(spec: OptionSpec): string {
  const nothing = Symbol();
  return v.safeParse(schemaOf(spec), nothing).issues![0].message;
}

/** A schema whose issues say what the option may be. */
export function schemaOf(spec: Partial<OptionSpec>): v.GenericSchema {
  if (spec.schema) return spec.schema as unknown as v.GenericSchema;
  if (spec.enum) return oneOf(spec.enum);
  const { type = "number" } = spec;
  const empty = "a text that is not empty";
  switch (type) {
    case "boolean":
      return v.boolean("true or false");
    case "string":
      return v.string("a text");
    case "strings":
      return v.pipe(
        v.union([
          v.pipe(v.string(), v.transform((text) => [text])),
          v.array(v.string()),
        ], "a text or a list of texts"),
        v.everyItem((text) => text !== "", empty),
      );
    default: {
      const { minimum = -Infinity, exclusiveMinimum = -Infinity } = spec;
      const { maximum = Infinity } = spec;
      const isRight = type === "integer"
        ? Number.isSafeInteger
        : Number.isFinite;
      return v.custom<number>(
        (value) =>
          isRight(value) && value as number >= minimum &&
          value as number > exclusiveMinimum && value as number <= maximum,
        rangeText(spec),
      );
    }
  }
}

const words: Readonly<Record<string, string>> = {
  array: "a list",
  boolean: "true or false",
  non_empty: "a text that is not empty",
  number: "a number",
  string: "a text",
};

/** What a value is to be, where its schema does not say: valibot's own words are for programmers. */
export function inWords({ type, expected }: v.BaseIssue<unknown>): string {
  return words[type] ?? expected ?? "another kind of value";
}

/** What stops something. */
export const abortSignal = v.instance(
  AbortSignal,
  "an AbortSignal",
) as SchemaOf<AbortSignal>;

/** A schema for one of some words. */
export function oneOf<Word extends string>(
  words: readonly Word[],
): v.GenericSchema<Word> {
  return v.picklist(words, `one of ${words.join(", ")}`);
}

/** `a whole number from 1 up`, `a number above 0, at most 1`. */
function rangeText(
  { type, minimum, exclusiveMinimum, maximum }: Partial<OptionSpec>,
): string {
  const noun = type === "integer" ? "a whole number" : "a number";
  if (exclusiveMinimum !== undefined) {
    const most = maximum === undefined ? "" : `, at most ${maximum}`;
    return `${noun} above ${exclusiveMinimum}${most}`;
  }
  if (minimum === undefined) {
    return maximum === undefined ? noun : `${noun} up to ${maximum}`;
  }
  const end = maximum === undefined ? "up" : `to ${maximum}`;
  return `${noun} from ${minimum} ${end}`;
}

/** What is said of a value that a schema refuses. An unknown name comes first, for it is why another is missing. */
function wrong(
  option: string,
  schema: v.GenericSchema,
  issues: readonly v.BaseIssue<unknown>[],
): UsageError {
  const isUnknown = ({ expected }: v.BaseIssue<unknown>) =>
    expected === "never";
  const issue = issues.find(isUnknown) ?? issues[0];
  const path = [option, ...issue.path?.map(({ key }) => String(key)) ?? []];
  const what = path.join(".");
  if (isUnknown(issue)) {
    const { input } = issue.path![0] as { input: Record<string, unknown> };
    return unknownName(what, option, namesIn(schema, input), input);
  }
  if (issue.expected?.startsWith('"') && issue.input === undefined) {
    const name = path.pop();
    return new UsageError(
      `Cannot use ${path.join(".")}: ${name} is missing`,
    );
  }
  return new UsageError(
    `Cannot use ${what} ${shown(issue.input)}: it is ${issue.message}`,
  );
}

/** What is said of a name that is none of `names`: with a near one of those that are not given too. */
function unknownName(
  what: string,
  where: string,
  names: readonly string[],
  given: object,
): UsageError {
  const name = what.split(".").at(-1)!;
  const free = names.filter((each) => !Object.hasOwn(given, each));
  const hint = nearestHint("; did you mean", name, free);
  return new UsageError(
    `Cannot use ${what}: ${where} has nothing of that name${hint}`,
  );
}

/** What an object may have, by a schema of one kind of objects, or of several that a key tells apart. */
function namesIn(
  schema: v.GenericSchema,
  given: Readonly<Record<string, unknown>>,
): string[] {
  const { options, key } = schema as unknown as v.VariantSchema<
    string,
    v.StrictObjectSchema<v.ObjectEntries, undefined>[],
    undefined
  >;
  const isMeant = (entry: v.GenericSchema) => v.is(entry, given[key]);
  const found = options.find(({ entries }) =>
    isMeant(entries[key] as v.GenericSchema)
  );
  return Object.keys(found!.entries);
}

/** A value for people: `"yes"`, `64`, `a list`. */
export function shown(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(
        value.length > 60 ? `${value.slice(0, 60)}…` : value,
      );
    case "function":
      return "a function";
    case "object":
      if (value !== null) return Array.isArray(value) ? "a list" : "an object";
      return "null";
    default:
      return String(value);
  }
}
