import { FormatError } from "../../errors.ts";

/** A text, and how it might go on. */
export interface Candidate {
  /** What the model is given */
  readonly context: string;
  /** With the space that parts it from the context */
  readonly continuation: string;
}

/** Which candidate does the model find likeliest? */
export interface ChoiceItem {
  /** Scored by which candidate is the likeliest */
  readonly kind: "choice";
  /** One for each choice */
  readonly candidates: readonly Candidate[];
  /** The texts of the choices; a choice's log-likelihood is divided by its bytes for `acc_norm` */
  readonly choices: readonly string[];
  /** Which of them is right */
  readonly gold: number;
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
  /** Scores of the text that the model wrote, 0 or 1 each */
  readonly scoresOf: (text: string) => Readonly<Record<string, number>>;
}

/** One question of a task. */
export type Item = ChoiceItem | ClozeItem | GenerationItem;

/** A task, and how its file is read; prompts and scores are lm-evaluation-harness's. */
export interface EvalTask {
  /** lm-evaluation-harness's name */
  readonly name: string;
  /** Names of its file, any of which may be there; one JSON object a line, as llm-foundry has them */
  readonly files: readonly string[];
  /** What is measured, most telling last */
  readonly metrics: readonly string[];
  /** Items that are shown, with their answers, before each question */
  readonly shots: number;
  /** Where a generated text ends */
  readonly until?: readonly string[];
  /** Makes an item of a line. Throws {@linkcode FormatError} where it lacks a field. */
  readonly item: (record: TaskRecord) => Item;
}

/** The item of a context that each of a record's `choices` follows. */
export function choiceItem(context: string, record: TaskRecord): ChoiceItem {
  const choices = record.texts("choices");
  return {
    kind: "choice",
    candidates: choices.map((choice) => ({
      context,
      continuation: ` ${choice}`,
    })),
    choices,
    gold: record.index("gold", choices.length),
  };
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

  /** A list of two texts or more. */
  texts(name: string): string[] {
    const value = this.fields[name];
    const fits = Array.isArray(value) && value.length > 1 &&
      value.every((each) => typeof each === "string");
    return fits ? value : this.#refuse(name, "a list of two texts or more");
  }

  /** The index of one of `count` things. */
  index(name: string, count: number): number {
    const value = this.fields[name];
    return Number.isInteger(value) && Number(value) >= 0 &&
        Number(value) < count
      ? Number(value)
      : this.#refuse(name, `a whole number below ${count}`);
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
 * The items of a task's file.
 *
 * @throws {FormatError} where a line is no JSON object, or lacks a field
 */
export function readItems(task: EvalTask, text: string, name: string): Item[] {
  return text.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    const where = `${name}, line ${i + 1}`;
    let fields: unknown;
    try {
      fields = JSON.parse(line);
    } catch {
      fields = undefined;
    }
    if (typeof fields !== "object" || fields === null) {
      throw new FormatError(`Cannot read ${where}: it is no JSON object`);
    }
    const record = new TaskRecord(fields as Record<string, unknown>, where);
    return [task.item(record)];
  });
}
