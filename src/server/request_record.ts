/** What becomes of a request, as it is logged. */
import type { Summary } from "../generate/generate.ts";
import { requestErrorOf } from "./errors.ts";

/** A request that has ended: a line of a log. Texts of prompts and answers are there only where that is asked for. */
export interface RequestEntry {
  /** When it came, as ISO 8601 has it */
  readonly time: string;
  /** Its `x-request-id` */
  readonly id: string;
  /** `GET`, `POST` and others */
  readonly method: string;
  /** Without what stands behind `?` */
  readonly path: string;
  /** That of its answer; a stream that fails later keeps it */
  readonly status: number;
  /** The model that answered */
  readonly model?: string;
  /** The server that a gateway had it answered by */
  readonly upstream?: string;
  /** All tokens of its prompts */
  readonly prompt_tokens?: number;
  /** Those of them that earlier texts had left behind */
  readonly cached_tokens?: number;
  /** Tokens that were written */
  readonly generated_tokens?: number;
  /** Until its first text had a place, loading a model included */
  readonly queue_ms?: number;
  /** What its prompts took */
  readonly prompt_ms?: number;
  /** Until nobody was at work for it any more */
  readonly total_ms: number;
  /** Why its texts ended: `stop` or `length` */
  readonly finish_reason?: string;
  /** The type of the error that it ended with */
  readonly error?: string;
  /** Whether nobody waited for its end */
  readonly aborted: boolean;
  /** Its body */
  readonly request?: unknown;
  /** The texts that were written */
  readonly answers?: readonly string[];
}

/** A client's own id, if it is one that any log can take. */
const soundId = /^[\w.:+/=@-]{1,128}$/;

/** The longest path that is logged. */
const longestPath = 256;

/** The longest name of a model that is logged: a gateway knows only what its client says. */
const longestModel = 512;

/** What is known of a request while it is under way. */
export class RequestRecord {
  readonly #start = performance.now();
  readonly #time = new Date().toISOString();
  readonly #reasons = new Set<string>();
  readonly #answers: string[] = [];
  #error?: string;
  /** Who is at work for it */
  #holds = 0;
  #promptMs = 0;
  #tokens?: { prompt: number; cached: number; generated: number };
  readonly id: string;
  readonly method: string;
  readonly path: string;
  status = 0;
  model?: string;
  upstream?: string;
  queueMs?: number;
  /** Its body, where that is to be logged */
  body?: unknown;

  /** `tell` is given what is logged, when nobody is at work for the request any more. */
  constructor(
    request: Request,
    /** Whether prompts and answers are logged */
    readonly hasTexts: boolean,
    readonly tell: (entry: RequestEntry) => void,
  ) {
    const given = request.headers.get("x-request-id") ?? "";
    this.id = soundId.test(given) ? given : crypto.randomUUID();
    this.method = request.method;
    const { url } = request;
    this.path = URL.canParse(url) ? new URL(url).pathname : url;
  }

  /** Somebody is at work for the request, until this is disposed of. */
  hold(): Disposable {
    this.#holds++;
    return {
      [Symbol.dispose]: () => {
        if (--this.#holds === 0) this.tell(this.#entry());
      },
    };
  }

  /** It ended with an error, of which the first counts. */
  fail(error: unknown): void {
    this.#error ??= requestErrorOf(error).type;
  }

  /** Counts a prompt's tokens, and those of them that were there already. */
  addPrompt(tokens: number, cachedTokens: number, ms: number): void {
    const counted = this.#counted();
    counted.prompt += tokens;
    counted.cached += cachedTokens;
    this.#promptMs += ms;
  }

  /** Counts a text that has ended, whose prompt has been counted or is now. */
  addText(summary: Summary, hasPrompt: boolean): void {
    const { promptTokens, cachedTokens, promptMs } = summary;
    if (hasPrompt) this.addPrompt(promptTokens, cachedTokens, promptMs);
    this.#counted().generated += summary.completionTokens;
    if (summary.finishReason !== "aborted") {
      this.#reasons.add(summary.finishReason);
    }
  }

  /** Text of one of its answers, where that is to be logged. */
  addAnswer(choice: number, text: string): void {
    if (!this.hasTexts) return;
    this.#answers[choice] = (this.#answers[choice] ?? "") + text;
  }

  #counted() {
    return this.#tokens ??= { prompt: 0, cached: 0, generated: 0 };
  }

  #entry(): RequestEntry {
    const tokens = this.#tokens;
    const reasons = [...this.#reasons].join(",");
    return {
      time: this.#time,
      id: this.id,
      method: this.method,
      path: this.path.slice(0, longestPath),
      status: this.status,
      model: this.model?.slice(0, longestModel),
      upstream: this.upstream,
      prompt_tokens: tokens?.prompt,
      cached_tokens: tokens?.cached,
      generated_tokens: tokens?.generated,
      queue_ms: rounded(this.queueMs),
      prompt_ms: tokens && rounded(this.#promptMs),
      total_ms: rounded(performance.now() - this.#start)!,
      finish_reason: reasons || undefined,
      error: this.#error,
      aborted: this.#error === "aborted_error",
      request: this.body,
      answers: this.#answers.length > 0
        ? Array.from(this.#answers, (text) => text ?? "")
        : undefined,
    };
  }
}

/** Ms, to a tenth. */
function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(10 * ms) / 10;
}
