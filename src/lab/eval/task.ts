import { FormatError } from "../../errors.ts";

/** A text, and how it might go on. */
export interface Candidate {
  /** What the model is given */
  readonly context: string;
  /** With the space that parts it from the context */
  readonly continuation: string;
}

/** Scores of one question, by metric: 0 or 1, or a share. */
export type Scores = Readonly<Record<string, number>>;

/** How likely does the model find each candidate? */
export interface ChoiceItem {
  /** Scored by how likely each candidate is */
  readonly kind: "choice";
  /** One for each choice */
  readonly candidates: readonly Candidate[];
  /** Which of them is right, or shown as the answer where several are */
  readonly gold: number;
  /** Scores of the candidates' log-likelihoods, in nats */
  readonly scoresOf: (logprobs: readonly number[]) => Scores;
}

/** Is each token of the continuation the likeliest? */
export interface ClozeItem extends Candidate {
  /** Scored by whether the continuation is the likeliest */
  readonly kind: "cloze";
}

/** What does the model write? */
export interface GenerationItem {
  /** Scored by what the model writes */
  readonly kind: "generation";
  /** What the model is given */
  readonly context: string;
  /** A worked answer, with the space before it, for those who are shown examples */
  readonly solution: string;
  /** Scores of the text that the model wrote */
  readonly scoresOf: (text: string) => Scores;
}

/** Do programs that the model writes pass their tests? */
export interface ProgramItem {
  /** Scored by running what the model writes */
  readonly kind: "program";
  /** What the model is given: the program's beginning */
  readonly context: string;
  /** The rest, for those who are shown examples */
  readonly solution: string;
  /** The Python program with its tests, of the text that the model wrote */
  readonly programOf: (text: string) => string;
  /** Scores of which programs ran to their end */
  readonly scoresOf: (passed: readonly boolean[]) => Scores;
}

/** One question of a task. */
export type Item = ChoiceItem | ClozeItem | GenerationItem | ProgramItem;

/** Questions behind the same examples: all of a task, or those of one subject. */
export interface Subject {
  /** lm-evaluation-harness's name: the task's, or `mmlu_anatomy` */
  readonly name: string;
  /** Whose value is given too: `mmlu_stem` */
  readonly group?: string;
  /** What stands before the examples. Default: nothing. */
  readonly description?: string;
  /** What may be shown before each question. Default: the first questions, which are not asked then. */
  readonly examples?: readonly Item[];
  /** In the file's order */
  readonly questions: readonly Item[];
}

/** A file of a task. */
export interface TaskFile {
  /** For errors */
  readonly path: string;
  /** All of it */
  readonly text: string;
}

/** Gives the first of the named files that is there. */
export type TaskFiles = (...names: readonly string[]) => Promise<TaskFile>;

/** A task, and how its files are read; prompts and scores are lm-evaluation-harness's. */
export interface EvalTask {
  /** lm-evaluation-harness's name */
  readonly name: string;
  /** What is measured, most telling last */
  readonly metrics: readonly string[];
  /** Examples that are shown, with their answers, before each question */
  readonly shots: number;
  /** Whether it is so many always: what is shown belongs to the task */
  readonly fixedShots?: boolean;
  /** Where a generated text ends */
  readonly until?: readonly string[];
  /** Most tokens of a generated text. Default 256. */
  readonly maxTokens?: number;
  /** Texts for each question; where there are several, they are drawn at random. Default 1. */
  readonly samples?: number;
  /** Makes questions of its files. Throws {@linkcode FormatError} where one lacks a field. */
  readonly read: (files: TaskFiles) => Promise<readonly Subject[]>;
}

/** Reads a task of one file with a JSON object a line, of which `names` are the possible names. */
export function linesOf(
  name: string,
  names: readonly string[],
  item: (record: TaskRecord) => Item,
): EvalTask["read"] {
  return async (files) => {
    const questions = readLines(await files(...names)).map(item);
    return [{ name, questions }];
  };
}

/** The item of a context that each of some choices follows. */
export function choiceItem(
  context: string,
  choices: readonly string[],
  gold: number,
): ChoiceItem {
  return {
    kind: "choice",
    candidates: choices.map((choice) => ({
      context,
      continuation: ` ${choice}`,
    })),
    gold,
    scoresOf: (logprobs) => ({
      acc: Number(best(logprobs) === gold),
      acc_norm: Number(best(perCharacter(logprobs, choices)) === gold),
    }),
  };
}

/** The index of the largest. */
export function best(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

/** As lm-evaluation-harness counts: code points. */
function perCharacter(
  logprobs: readonly number[],
  choices: readonly string[],
): number[] {
  return logprobs.map((logprob, i) => logprob / Array.from(choices[i]).length);
}

/** One line of a task's file. */
export class TaskRecord {
  /** `where` is named when a field is missing: `piqa.jsonl, line 3`. */
  constructor(
    readonly fields: Readonly<Record<string, unknown>>,
    readonly where: string,
  ) {}

  /** A text. */
  text(name: string): string {
    const value = this.fields[name];
    return typeof value === "string" ? value : this.#refuse(name, "a text");
  }

  /** One of some texts. */
  oneOf(name: string, texts: readonly string[]): string {
    const text = this.text(name);
    return texts.includes(text) ? text : this.#refuse(
      name,
      `one of ${texts.slice(0, 4).join(", ")}${texts.length > 4 ? " …" : ""}`,
    );
  }

  /** A list of `count` texts; by default two or more. */
  texts(name: string, count?: number): string[] {
    const value = this.fields[name];
    const fits = Array.isArray(value) &&
      (count === undefined ? value.length > 1 : value.length === count) &&
      value.every((each) => typeof each === "string");
    return fits ? value : this.#refuse(
      name,
      `a list of ${count ?? "two texts or more"}${
        count === undefined ? "" : " texts"
      }`,
    );
  }

  /** The index of one of `count` things. */
  index(name: string, count: number): number {
    const value = this.fields[name];
    return Number.isInteger(value) && Number(value) >= 0 &&
        Number(value) < count
      ? Number(value)
      : this.#refuse(name, `a whole number below ${count}`);
  }

  /** Texts, each with whether it is right: `{ "Paris": 1, "Rome": 0 }`, with a right one. */
  labels(name: string): [text: string, isRight: boolean][] {
    const value = this.fields[name];
    const labels = typeof value === "object" && value !== null
      ? Object.entries(value)
      : [];
    const fits = labels.length > 1 && labels.some(([, label]) => label === 1) &&
      labels.every(([, label]) => label === 0 || label === 1);
    return fits
      ? labels.map(([text, label]) => [text, label === 1])
      : this.#refuse(name, "texts with 0 or 1 each, and a 1");
  }

  #refuse(name: string, needed: string): never {
    throw new FormatError(
      `Cannot read ${this.where}: "${name}" is ${
        JSON.stringify(this.fields[name])?.slice(0, 40) ?? "missing"
      }, needs ${needed}`,
    );
  }
}

/**
 * The records of a file with a JSON object a line.
 *
 * @throws {FormatError} where a line is none
 */
export function readLines({ path, text }: TaskFile): TaskRecord[] {
  return text.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    const where = `${path}, line ${i + 1}`;
    return [recordOf(readJson(line, where), where)];
  });
}

/**
 * The records of a list in a JSON file.
 *
 * @throws {FormatError} where it is no list, or holds something else
 */
export function readList(list: unknown, path: string): TaskRecord[] {
  if (!Array.isArray(list)) {
    throw new FormatError(`Cannot read ${path}: there is no list of questions`);
  }
  return list.map((fields, i) =>
    recordOf(fields, `${path}, question ${i + 1}`)
  );
}

/** The value of a text of JSON; `where` is named where it is none. */
export function readJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new FormatError(`Cannot read ${where}: it is no JSON`);
  }
}

function recordOf(fields: unknown, where: string): TaskRecord {
  if (typeof fields !== "object" || fields === null) {
    throw new FormatError(`Cannot read ${where}: it is no JSON object`);
  }
  return new TaskRecord(fields as Record<string, unknown>, where);
}
