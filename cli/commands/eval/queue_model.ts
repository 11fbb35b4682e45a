/** Questions that the workers of a queue are asked: what is asked at the same time is one batch. */
import { CulmError } from "../../../mod.ts";
import {
  type Asked,
  type AskedModel,
  type EvalTask,
  evaluateTask,
  type Outcome,
  type ProgramRunner,
  type ScoredIds,
  type Writing,
} from "../../../lab.ts";
import type { LoadFlags } from "../../options.ts";
import {
  askWorkers,
  type Question,
  readHeader,
} from "../../queue/ask_workers.ts";
import {
  labUrls,
  readLikelihoods,
  readTextList,
} from "../../queue/lab_requests.ts";
import type { QueueFlags } from "../../queue/queue.ts";

/** A question that waits for its answer. */
interface Waiting extends Question {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Collects what is asked until nothing more is, and has `ask` answer it. */
class QueueModel implements AskedModel {
  readonly together = Infinity;
  #waiting: Waiting[] = [];

  constructor(
    readonly tokenizer: AskedModel["tokenizer"],
    readonly contextSize: number,
    readonly ask: (questions: readonly Question[]) => Promise<unknown[]>,
  ) {}

  readonly likelihoods = async (texts: readonly ScoredIds[]) => {
    const answer = await this.#answerTo({
      url: labUrls.likelihoods,
      body: { texts: [...texts] },
    });
    return readLikelihoods(answer, texts.length) ?? fail();
  };

  readonly write = async (
    { samples = 1, maxTokens, until }: Writing,
    prompt: readonly number[],
  ) => {
    // What the context has no room for is left out there, too.
    const ids = prompt.slice(-this.contextSize);
    const answer = await this.#answerTo({
      url: labUrls.texts,
      body: { prompt: ids, samples, maxTokens, until },
    });
    return readTextList(answer, samples) ?? fail();
  };

  #answerTo(question: Question): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setTimeout(() => this.#askAll());
      this.#waiting.push({ ...question, resolve, reject });
    });
  }

  async #askAll(): Promise<void> {
    const asked = this.#waiting;
    this.#waiting = [];
    try {
      const answers = await this.ask(
        asked.map(({ url, body }) => ({ url, body })),
      );
      asked.forEach(({ resolve }, i) => resolve(answers[i]));
    } catch (error) {
      asked.forEach(({ reject }) => reject(error));
    }
  }
}

function fail(): never {
  throw new CulmError("Cannot go on: a worker has answered something else");
}

/** Questions that a worker takes at once. */
const range = 16;

/** What questions need beside a model. */
interface Running {
  readonly python?: ProgramRunner;
  readonly signal: AbortSignal;
}

/** Has the workers of a queue answer all questions of a column. */
export async function askAll(
  flags: LoadFlags & QueueFlags,
  label: string,
  tasks: readonly { task: EvalTask; asked: readonly Asked[] }[],
  { python, signal }: Running,
): Promise<Outcome[]> {
  const { model, tokenizer } = await readHeader(flags, signal);
  const contextSize = flags.contextSize || model.contextSize;
  const options = {
    unit: "questions",
    label,
    range,
    signal,
  } as const;
  const asked = new QueueModel(
    tokenizer,
    contextSize,
    (questions) => askWorkers(flags, questions, options),
  );
  // Subject by subject, all at the same time.
  const outcomes = await Promise.all(
    tasks.flatMap(({ task, asked: subjects }) =>
      subjects.map(async (subject) => {
        const found: Outcome[] = [];
        const evaluating = evaluateTask(asked, task, [subject], {
          python,
          signal,
        });
        for await (const outcome of evaluating) found.push(outcome);
        return found;
      })
    ),
  );
  return outcomes.flat();
}
