import { UsageError } from "../../errors.ts";
import { preambleOf } from "./prompt.ts";
import type { EvalTask, Item, Subject } from "./task.ts";

/** How much of a task is asked. */
export interface AskOptions {
  /** Examples before each question. Default: the task's, which some fix. */
  readonly shots?: number;
  /** Most questions of each subject. Default: all. */
  readonly limit?: number;
}

/** What of a subject is asked. */
export interface Asked {
  /** Of which subject */
  readonly subject: Subject;
  /** What stands before each question: the description and the examples */
  readonly preamble: string;
  /** Those that are asked, in order */
  readonly questions: readonly Item[];
}

/** How many examples a task is shown with. */
export function shotsOf(task: EvalTask, { shots }: AskOptions = {}): number {
  return task.fixedShots ? task.shots : shots ?? task.shots;
}

/**
 * What of a task is asked, subject by subject. Examples are the subject's own,
 * or else its first questions, which are then left out.
 *
 * @throws {UsageError} where the examples, or the questions, are too few
 */
export function askedOf(
  task: EvalTask,
  subjects: readonly Subject[],
  options: AskOptions = {},
): Asked[] {
  const shots = shotsOf(task, options);
  const { limit = Infinity } = options;
  const asked = subjects.map((subject) => {
    const { name, description = "", examples, questions } = subject;
    if (examples && examples.length < shots) {
      throw new UsageError(
        `Cannot evaluate ${name}: ${shots} examples are to be shown, and there are ${examples.length}`,
      );
    }
    const first = examples ? 0 : shots;
    if (questions.length === 0) throw noQuestions(name);
    if (questions.length <= first) {
      throw new UsageError(
        `Cannot evaluate ${name}: ${first} items are shown as examples, and there are ${questions.length}`,
      );
    }
    return {
      subject,
      preamble: description +
        preambleOf((examples ?? questions).slice(0, shots)),
      questions: questions.slice(first, first + limit),
    };
  });
  if (asked.length > 0) return asked;
  throw noQuestions(task.name);
}

function noQuestions(name: string): UsageError {
  return new UsageError(`Cannot evaluate ${name}: there are no questions`);
}
