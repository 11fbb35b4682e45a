/**
 * How a server serves.
 *
 * @module
 */
import * as v from "valibot";
import { embedOptions } from "../generate/embed.ts";
import { chatOptions } from "../generate/chat_options.ts";
import {
  type Checked,
  type OptionsOf,
  type SchemaOf,
  valuesOf,
} from "../options.ts";
import type { RequestEntry } from "./request_record.ts";
import { type SamplingOptions, samplingOptions } from "../sampling/options.ts";

const isSampling = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null) return false;
  valuesOf(samplingOptions, value);
  return true;
};

/** How a server serves. */
export const serverOptions = {
  /** The model's names for clients; answers use the first. Default: the file's own. */
  aliases: {
    type: "strings",
    defaultText: "the model's own name",
    flag: "-a, --alias <list>",
    description:
      "what clients call the model; with commas, several names, of which answers use the first",
  },
  /** The most texts that are written at the same time. */
  parallel: {
    type: "integer",
    minimum: 1,
    limit: 512,
    default: 16,
    flag: "-np, --parallel <n>",
    description: "most texts that are written at the same time",
  },
  /** The most models of a catalogue that are loaded at the same time. */
  modelsMax: {
    type: "integer",
    minimum: 1,
    default: 4,
    flag: "--models-max <n>",
    description: "most models of --models-dir that are loaded at the same time",
  },
  /** The most GiB of weights of a catalogue's models together; 0 = no limit. */
  modelsMemory: {
    type: "number",
    minimum: 0,
    default: 0,
    flag: "--models-memory <GiB>",
    description:
      "most GiB that the weights of all loaded models take; 0 = no limit",
  },
  /** Seconds after which a catalogue's model that nobody asks for is unloaded; -1 = never. */
  sleepIdleSeconds: {
    type: "number",
    minimum: -1,
    default: -1,
    flag: "--sleep-idle-seconds <s>",
    description:
      "seconds after which a model of --models-dir that nobody asks for is unloaded; -1 = never",
  },
  /** The most requests that wait for their turn; more are refused with 503. */
  queueLimit: {
    type: "integer",
    minimum: 0,
    default: 256,
    flag: "--queue-limit <n>",
    description: "most requests that wait; others are told to come back",
  },
  /** The most tokens of an answer, whatever a request asks for; -1 = as many as the context holds. */
  maxTokens: {
    type: "integer",
    minimum: -1,
    default: -1,
    flag: "-n, --predict, --n-predict <n>",
    description:
      "most tokens of an answer, whatever a request asks for; -1 = as many as the context holds",
  },
  /** The longest body of a request, in MiB. */
  bodyLimit: {
    type: "number",
    exclusiveMinimum: 0,
    limit: 512,
    default: 16,
    flag: "--body-limit <MiB>",
    description: "longest body of a request, in MiB",
  },
  /** The most that files of `/v1/files` take together, in MiB. */
  filesLimit: {
    type: "number",
    minimum: 0,
    limit: 4096,
    default: 64,
    flag: "--files-limit <MiB>",
    description:
      "most MiB of memory that files for batches, and their results, take together",
  },
  /** The longest that a request may take, in seconds, waiting included; 0 = as long as it takes. */
  timeLimit: {
    type: "number",
    minimum: 0,
    default: 3600,
    flag: "-to, --timeout <s>",
    description:
      "seconds that a request may take, waiting included; 0 = no limit",
  },
  /** Seconds between signs of life in a stream that has nothing to say yet. */
  pingInterval: {
    type: "number",
    exclusiveMinimum: 0,
    default: 15,
    flag: "--sse-ping-interval <s>",
    description:
      "seconds between signs of life in a stream that has nothing to say yet",
  },
  /** How tokens are chosen where a request does not say. */
  sampling: {
    schema: v.custom(isSampling, "an object of sampling options") as SchemaOf<
      SamplingOptions
    >,
    description: "how tokens are chosen where a request does not say",
  },
  /** Keys, one of which a request has to have. Default: none is needed. */
  apiKeys: {
    type: "strings",
    defaultText: "none is needed",
    flag: "--api-key <key>",
    description: "a key that requests have to have; with commas, several",
  },
  /** Pages of which origins may ask: `localhost` stands for all of this machine, `*` for all. */
  corsOrigins: {
    type: "strings",
    defaultText: "localhost",
    flag: "--cors-origins <list>",
    description:
      "pages that may ask, by origin, with commas: localhost = all of this machine, * = all",
  },
  /** Names by which requests may call this machine, beside addresses and localhost; `*` = all. Where there are keys, any. */
  allowedHosts: {
    type: "strings",
    defaultText: "addresses and localhost; where there is a key, any",
    flag: "--allowed-hosts <list>",
    description: "names by which requests may call this machine; * = all",
  },
  /** Gives `/metrics`. */
  metrics: {
    type: "boolean",
    default: false,
    flag: "--metrics",
    description: "give /metrics, for Prometheus",
  },
  /** Gives `/slots`. */
  slots: {
    type: "boolean",
    default: true,
    flag: "--slots",
    description: "give /slots, which says what is being written",
    negative: { flag: "--no-slots", description: "do not" },
  },
  /** Whether browsers are shown a page at `/`. Default true. */
  ui: {
    type: "boolean",
    default: true,
    flag: "--no-ui, --no-webui",
    description: "show browsers no page at /",
  },
  /** How the states of a text become its embedding. */
  pooling: { ...embedOptions.pooling, flag: "--pooling <type>" },
  /** A Jinja template in place of the model's. */
  template: chatOptions.template as typeof chatOptions.template,
  /** More variables for it, where a request does not say. */
  templateVariables: chatOptions.variables as typeof chatOptions.variables,
  /** Whether models reason before they answer, where the template lets one choose: `enable_thinking`. */
  reasoning: {
    enum: ["on", "off", "auto"],
    default: "auto",
    flag: "-rea, --reasoning <when>",
    description:
      "whether a model reasons before it answers, where a request does not say; auto = as its template has it",
  },
  /** Whether reasoning is told apart from what is said, where a request does not say. */
  reasoningFormat: {
    enum: ["auto", "deepseek", "none"],
    default: "auto",
    flag: "--reasoning-format <format>",
    description:
      "none = reasoning stays in the text, else it is reasoning_content",
  },
  /** Told of each request that has ended. */
  log: {
    schema: v.function("a function") as SchemaOf<(entry: RequestEntry) => void>,
    description: "told of each request that has ended",
  },
  /** Whether `log` is told bodies of requests and texts of answers, too. */
  logPrompts: {
    type: "boolean",
    default: false,
    flag: "--log-prompts",
    description: "log bodies of requests and texts of answers, too",
  },
  /** Told of what a request could not be blamed for. */
  onError: {
    schema: v.function("a function") as SchemaOf<(error: unknown) => void>,
    description: "told of errors that no request is to blame for",
  },
} as const;

/** How a server serves. Everything may be left out; {@linkcode serverOptions} has ranges and defaults. */
export type ServerOptions = OptionsOf<typeof serverOptions>;

/** Options with every default filled in. */
export type CheckedServerOptions = Checked<typeof serverOptions>;
