/** What a server has done, and does, for Prometheus. */
import type { Engine } from "../engine/engine.ts";
import type { Summary } from "../generate/generate.ts";
import type { LanguageModel } from "../generate/language_model.ts";
import { bytesRead, totalOf } from "../places/stats.ts";
import { loadGauges, type Metric, metricLines } from "./metric_lines.ts";
import type { RequestQueue } from "./request_queue.ts";

/** What engines count, each as long as its model is loaded. */
const engineCounts = {
  steps: ({ stepCosts }) => stepCosts.steps,
  /** Texts in each step, added up */
  rows: ({ stepCosts }) => stepCosts.sequenceSteps,
  neurons: (engine) => totalOf(engine.stats(), "neurons"),
  active: (engine) => totalOf(engine.stats(), "active"),
  hot: (engine) => totalOf(engine.stats(), "hot"),
  gateRows: (engine) => totalOf(engine.stats(), "gateRows"),
  upRows: (engine) => totalOf(engine.stats(), "upRows"),
  downRows: (engine) => totalOf(engine.stats(), "downRows"),
  bytes: (engine) => bytesRead(engine.stats()),
  tokens: (engine) => engine.stats().tokens,
  cachedTokens: (engine) => engine.cachedTokens,
} satisfies Record<string, (engine: Engine) => number>;

type CountName = keyof typeof engineCounts;
type EngineCounts = Readonly<Record<CountName, number>>;

const countNames = Object.keys(engineCounts) as CountName[];

function countsOf({ engine }: LanguageModel): EngineCounts {
  return byName((name) => engineCounts[name](engine));
}

function sumOf(counts: readonly EngineCounts[]): EngineCounts {
  return byName((name) => sum(counts, (each) => each[name]));
}

function byName(figure: (name: CountName) => number): EngineCounts {
  const entries = countNames.map((name) => [name, figure(name)]);
  return Object.fromEntries(entries);
}

/** Counts what answers took. */
export class ServerMetrics {
  readonly startedAt: number = Date.now();
  #promptTokens = 0;
  #cachedTokens = 0;
  #promptMs = 0;
  #predictedTokens = 0;
  /** Tokens behind the first of each answer: those that took a step */
  #decodedTokens = 0;
  #predictedMs = 0;
  #longest = 0;
  #draftedTokens = 0;
  #acceptedTokens = 0;
  /** What the engines of models that are unloaded have counted */
  #retired = sumOf([]);

  /** Counts an answer that has ended, for whatever reason. */
  add(summary: Summary): void {
    const { promptTokens, cachedTokens, completionTokens } = summary;
    this.#promptTokens += promptTokens - cachedTokens;
    this.#cachedTokens += cachedTokens;
    this.#promptMs += summary.promptMs;
    this.#predictedTokens += completionTokens;
    this.#decodedTokens += Math.max(0, completionTokens - 1);
    this.#predictedMs += summary.completionMs;
    this.#longest = Math.max(this.#longest, promptTokens + completionTokens);
    this.#draftedTokens += summary.draftedTokens;
    this.#acceptedTokens += summary.acceptedTokens;
  }

  /** Counts what answers share: so many tokens of a prompt, evaluated in so many ms. */
  addPrompt(tokens: number, ms: number): void {
    this.#promptTokens += tokens;
    this.#promptMs += ms;
  }

  /** Keeps what a model's engine has counted, which is to be closed. */
  retire(model: LanguageModel): void {
    this.#retired = sumOf([this.#retired, countsOf(model)]);
  }

  /** All figures, in Prometheus' text format, of a server with these models and this queue. */
  write(models: readonly LanguageModel[], queue: RequestQueue): string {
    const counts = sumOf([this.#retired, ...models.map(countsOf)]);
    return [
      ...metricLines("llamacpp", "counter", this.#counters(counts)),
      ...metricLines("llamacpp", "gauge", this.#gauges(counts, queue)),
      ...metricLines("culm", "counter", culmCounters(counts, queue)),
      ...metricLines("culm", "gauge", culmGauges(counts, models, queue)),
      ...metricLines("vllm", "gauge", vllmGauges(models, queue)),
    ].join("");
  }

  #counters({ steps }: EngineCounts): Metric[] {
    return [
      [
        "prompt_tokens_total",
        "Number of prompt tokens processed",
        this.#promptTokens,
      ],
      [
        "prompt_tokens_cached_total",
        "Number of prompt tokens taken over from earlier texts",
        this.#cachedTokens,
      ],
      ["prompt_seconds_total", "Prompt process time", this.#promptMs / 1000],
      [
        "tokens_predicted_total",
        "Number of generation tokens processed",
        this.#predictedTokens,
      ],
      [
        "tokens_predicted_seconds_total",
        "Predict process time",
        this.#predictedMs / 1000,
      ],
      ["n_decode_total", "Number of steps", steps],
      ["n_tokens_max", "Longest text, with its prompt", this.#longest],
      [
        "spec_decode_num_draft_tokens_total",
        "Tokens that were drafted",
        this.#draftedTokens,
      ],
      [
        "spec_decode_num_accepted_tokens_total",
        "Drafted tokens that were right",
        this.#acceptedTokens,
      ],
    ];
  }

  #gauges({ steps, rows }: EngineCounts, queue: RequestQueue): Metric[] {
    return [
      [
        "prompt_tokens_seconds",
        "Average prompt throughput in tokens/s",
        ratio(1000 * this.#promptTokens, this.#promptMs),
      ],
      [
        "predicted_tokens_seconds",
        "Average generation throughput in tokens/s",
        ratio(1000 * this.#decodedTokens, this.#predictedMs),
      ],
      [
        "requests_processing",
        "Number of texts that are being written",
        queue.running,
      ],
      ["requests_deferred", "Number of requests that wait", queue.waiting],
      [
        "n_busy_slots_per_decode",
        "Average number of texts in a step",
        ratio(rows, steps),
      ],
    ];
  }
}

function culmCounters(counts: EngineCounts, queue: RequestQueue): Metric[] {
  return [
    ["neurons_total", "Neurons, each token's", counts.neurons],
    ["neurons_active_total", "Neurons that were not zero", counts.active],
    [
      "neurons_hot_total",
      "Neurons whose rows were read without a test",
      counts.hot,
    ],
    ["gate_rows_read_total", "Rows of gates read", counts.gateRows],
    ["up_rows_read_total", "Rows of up read", counts.upRows],
    ["down_rows_read_total", "Rows of down read", counts.downRows],
    [
      "bytes_read_total",
      "Bytes of weights, keys and values read",
      counts.bytes,
    ],
    [
      "tokens_evaluated_total",
      "Tokens that went through the model",
      counts.tokens,
    ],
    [
      "prefix_cache_tokens_total",
      "Tokens taken over from earlier texts, by all who ask the engine",
      counts.cachedTokens,
    ],
    [
      "queue_wait_seconds_total",
      "Time texts have waited",
      queue.waitedMs / 1000,
    ],
    ["queue_granted_total", "Texts that have begun", queue.granted],
  ];
}

function culmGauges(
  { active, hot, neurons, bytes, tokens }: EngineCounts,
  models: readonly LanguageModel[],
  queue: RequestQueue,
): Metric[] {
  return [
    [
      "neurons_active_ratio",
      "Share of neurons that were not zero",
      ratio(active, neurons),
    ],
    [
      "neurons_hot_ratio",
      "Share of neurons whose rows were read without a test",
      ratio(hot, neurons),
    ],
    [
      "bytes_read_per_token",
      "Bytes of weights, keys and values read for a token",
      ratio(bytes, tokens),
    ],
    [
      "kv_pages_taken",
      "Pages of keys and values that texts hold",
      sum(models, ({ engine }) => engine.pagesTaken),
    ],
    [
      "kv_pages",
      "Pages there are",
      sum(models, ({ engine }) => engine.pagesHeld),
    ],
    ["queue_length", "Requests that wait", queue.waiting],
    ["models_loaded", "Models in memory", models.length],
  ];
}

/** What gateways before several servers weigh them by. */
function vllmGauges(
  models: readonly LanguageModel[],
  queue: RequestQueue,
): Metric[] {
  const taken = sum(models, ({ engine }) => engine.pagesTaken);
  const held = sum(models, ({ engine }) => engine.pagesHeld);
  return loadGauges(queue.running, queue.waiting, ratio(taken, held));
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function ratio(amount: number, of: number): number {
  return of > 0 ? amount / of : 0;
}
