/** The flags of `culm serve`. */
import { serverOptions } from "../../../server.ts";
import { templateFlag } from "../../chat_template.ts";
import { runGpuOptions } from "../../gpu_options.ts";
import { httpOptions } from "../../http/options.ts";
import { natsOptions } from "../../nats/connection.ts";
import type { FlagGroups, FlagsOfGroups } from "../../option.ts";
import { modelOptions, runOptions } from "../../options.ts";
import { jsonObject } from "../../values.ts";
import { samplingFlags } from "../../sampling_options.ts";

/** Those of the library that are flags of the same names. */
const {
  template: _template,
  templateVariables: _variables,
  sampling: _sampling,
  onError: _error,
  log: _log,
  ...limits
} = serverOptions;

// Tokens are told by a request alone.
const {
  logitBias: _bias,
  drySequenceBreaker: _breaker,
  ...samplingDefaults
} = samplingFlags;

/** Under the headings of its help. */
export const serveOptions = {
  Server: {
    ...httpOptions,
    ...limits,
    modelsDir: {
      type: "string",
      flag: "--models-dir <folder>",
      description:
        "serve the GGUF files of a folder, in place of -m: each is loaded when it is asked for by its name",
    },
    template: templateFlag,
    templateVariables: {
      type: "string",
      flag: "--chat-template-kwargs <json>",
      description:
        'more variables for the template, as JSON: {"enable_thinking":false}',
      read: jsonObject,
    },
  },
  "Being found": {
    announce: {
      type: "string",
      flag: "--announce <url>",
      description:
        "servers of NATS, nats://HOST:4222, by which gateways are told that this server is there; with commas, those of a cluster",
    },
    announceAs: {
      type: "string",
      flag: "--announce-as <url>",
      defaultText: "where it listens",
      description: "by which address gateways reach it: http://HOST:PORT",
    },
    ...natsOptions,
  },
  Model: modelOptions,
  Running: runOptions,
  GPU: runGpuOptions,
  "Sampling, where a request does not say": samplingDefaults,
} as const satisfies FlagGroups;

/** What the flags give. */
export type ServeFlags = FlagsOfGroups<typeof serveOptions>;

/** What of the flags the library's options are. */
export const serverFlagNames: readonly string[] = Object.keys(limits);

/** What of the flags says how tokens are chosen. */
export const samplingFlagNames: readonly string[] = Object.keys(
  samplingDefaults,
);
