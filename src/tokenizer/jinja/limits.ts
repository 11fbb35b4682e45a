/** What a template may cost. Templates come with model files, so from strangers. */
import { LimitError } from "../../errors.ts";

/** Time that one rendering may take, in milliseconds. A long chat takes some ten. */
const MAX_TIME = 3000;
/** Characters that filters, methods and operators may read and make in one rendering. */
const MAX_WORK = 1 << 28;
/** Characters that count as much as a list element. */
const CHARACTERS_PER_ELEMENT = 64;
/** Longest text that a template may make, in UTF-16 units. */
const MAX_TEXT = 1 << 22;
/** Longest list. */
const MAX_LIST = 1 << 17;
/** Most elements that loops in one another may run over. */
const MAX_LOOPS = 1 << 19;

function check(what: string, size: number, limit: number): void {
  if (size > limit) {
    throw new LimitError(
      `Cannot write the chat: its template makes ${what} of size ${
        Math.ceil(size)
      }, the limit is ${limit}`,
    );
  }
}

/**
 * What one rendering has left. Whatever evaluates asks it before it does the
 * work: nodes of the template the time, all that reads or makes texts and lists
 * their sizes.
 */
export class Budget {
  readonly #deadline = performance.now() + MAX_TIME;
  #work = 0;
  #looping = 0;

  /** @throws {LimitError} where the time is over */
  tick(): void {
    if (performance.now() > this.#deadline) {
      throw new LimitError(
        `Cannot write the chat: its template has not ended after ${MAX_TIME} ms`,
      );
    }
  }

  /** @throws {LimitError} where that many characters more are too many to read or make */
  spend(characters: number): void {
    this.#work += characters;
    if (this.#work > MAX_WORK) {
      throw new LimitError(
        `Cannot write the chat: its template reads and makes more than ${MAX_WORK} characters`,
      );
    }
  }

  /** The same for elements of a list. */
  spendElements(elements: number): void {
    this.spend(elements * CHARACTERS_PER_ELEMENT);
  }

  /** @throws {LimitError} where a text would be too long */
  text(length: number): void {
    check("a text", length, MAX_TEXT);
  }

  /** @throws {LimitError} where a list would be too long */
  list(length: number): void {
    check("a list", length, MAX_LIST);
  }

  /** Runs over a list, which may be done within another one. */
  loop(length: number, run: () => void): void {
    this.#looping += length;
    check("loops over lists", this.#looping, MAX_LOOPS);
    run();
    this.#looping -= length;
  }
}
