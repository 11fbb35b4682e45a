/**
 * What the command line uses of Deno, of Node's modules. The package for npm
 * has it under Deno's name (`scripts/npm.ts`).
 *
 * @module
 */
import { inspect } from "node:util";
import config from "../../deno.json" with { type: "json" };
import { errors } from "./errors.ts";
import { files } from "./files.ts";
import { serve } from "./serve.ts";
import { streams } from "./streams.ts";

const systems: Readonly<Record<string, string>> = { win32: "windows" };
const machines: Readonly<Record<string, string>> = {
  x64: "x86_64",
  arm64: "aarch64",
};

const { platform, arch, env } = process;

export const deno = {
  ...files,
  ...streams,
  errors,
  serve,
  inspect,
  args: process.argv.slice(2),
  build: { os: systems[platform] ?? platform, arch: machines[arch] ?? arch },
  /** What would run in Deno. */
  mainModule: `jsr:${config.name}@${config.version}/cli`,
  env: {
    get: (name: string) => env[name],
    set: (name: string, value: string) => {
      env[name] = value;
    },
  },
  /** There is no sandbox. */
  permissions: { query: () => Promise.resolve({ state: "granted" }) },
  exit: (code: number) => process.exit(code),
  addSignalListener: (signal: Deno.Signal, listener: () => void) =>
    void process.on(signal as NodeJS.Signals, listener),
  removeSignalListener: (signal: Deno.Signal, listener: () => void) =>
    void process.off(signal as NodeJS.Signals, listener),
};
