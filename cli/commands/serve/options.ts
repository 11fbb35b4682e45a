/** The flags of `culm serve`. */
import { serverOptions } from "../../../server.ts";
import { templateFlag } from "../../chat_template.ts";
import { runGpuOptions } from "../../gpu_options.ts";
import { httpOptions } from "../../http/options.ts";
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
