/** The flags of `culm serve`. */
import { serverOptions } from "../../../server.ts";
import { templateFlag } from "../../chat_template.ts";
import { runGpuOptions } from "../../gpu_options.ts";
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
    host: {
      type: "string",
      default: "127.0.0.1",
      flag: "--host <address>",
      description: "address to listen on; with commas, several",
    },
    port: {
      type: "integer",
      minimum: 0,
      maximum: 65535,
      default: 8080,
      flag: "--port <n>",
      description: "port to listen on; 0 = any that is free",
    },
    grace: {
      type: "number",
      minimum: 0,
      default: 30,
      flag: "--stop-timeout <s>",
      description:
        "seconds that answers may take to end once the server is told to stop",
    },
    ...limits,
    modelsDir: {
      type: "string",
      flag: "--models-dir <folder>",
      description:
        "serve the GGUF files of a folder, in place of -m: each is loaded when it is asked for by its name",
    },
    logFormat: {
      enum: ["text", "json"],
      default: "text",
      flag: "--log-format <format>",
      description:
        "how requests are told of on standard error: text = a short line, json = all that is known of one",
    },
    logFile: {
      type: "string",
      flag: "--log-file <file>",
      description: "add a line of JSON for each request to a file instead",
    },
    logDisable: {
      type: "boolean",
      flag: "--log-disable",
      description: "tell of no requests",
    },
    apiKeyFile: {
      type: "string",
      flag: "--api-key-file <file>",
      description: "a file with such keys, one a line",
    },
    tlsCert: {
      type: "string",
      flag: "--tls-cert, --ssl-cert-file <file>",
      description: "a certificate (PEM): answers come by HTTPS",
    },
    tlsKey: {
      type: "string",
      flag: "--tls-key, --ssl-key-file <file>",
      description: "its private key (PEM)",
    },
    template: templateFlag,
    templateVariables: {
      type: "string",
      flag: "--chat-template-kwargs <json>",
      description:
        'more variables for the template, as JSON: {"enable_thinking":false}',
      read: jsonObject,
    },
    printPermissions: {
      type: "boolean",
      flag: "--print-permissions",
      description:
        "print the command that serves with no more permissions than it needs, and end",
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
