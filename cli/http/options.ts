/** The flags of what listens for requests. */
import type { FlagsOf, FlagTable } from "../option.ts";

/** Where it listens, who may ask, and what is told of it. */
export const httpOptions = {
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
    description: "seconds that answers may take to end once it is told to stop",
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
    description: "a file with keys as --api-key has, one a line",
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
  printPermissions: {
    type: "boolean",
    flag: "--print-permissions",
    description:
      "print the command that serves with no more permissions than it needs, and end",
  },
} as const satisfies FlagTable;

/** What they give. */
export type HttpFlags = FlagsOf<typeof httpOptions>;
