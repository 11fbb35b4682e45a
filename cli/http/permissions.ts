/** What has to be permitted to what listens, as a command that permits no more. */
import { shellWord } from "../shell.ts";
import { hostInUrl, hostsOf } from "./addresses.ts";
import type { HttpFlags } from "./options.ts";

/** The arguments that ask for the command, and not for what it does. */
const asks = "--print-permissions";

/** The command that serves as `args` say, with its permissions, which are asked of nobody. */
export function permittedCommand(
  args: readonly string[],
  permissions: readonly string[],
): string {
  const program = new URL(Deno.mainModule);
  const words = [
    "deno",
    "run",
    "--no-prompt",
    ...permissions,
    program.protocol === "file:" ? program.pathname : program.href,
    ...args.filter((arg) => arg !== asks),
  ];
  return words.map(shellWord).join(" ");
}

/** Where it listens. */
export function addressesOf({ host, port }: HttpFlags): string[] {
  return hostsOf(host).map(hostInUrl)
    .map((address) => port === 0 ? address : `${address}:${port}`);
}

/** The files that its flags name. */
export function filesOfFlags(
  { apiKeyFile, tlsCert, tlsKey }: HttpFlags,
): (string | undefined)[] {
  return [apiKeyFile, tlsCert, tlsKey];
}

/** What lets these files be read. */
export function readPermissions(files: readonly string[]): string[] {
  return files.length > 0
    ? [`--allow-read=${[...new Set(files.map(permitted))].join(",")}`]
    : [];
}

/** What lets the log be written. */
export function logPermissions({ logFile }: HttpFlags): string[] {
  return logFile === undefined ? [] : [`--allow-write=${permitted(logFile)}`];
}

/** A file; where its name has a comma, which Deno takes for the end, the folder before that. */
function permitted(file: string): string {
  const comma = file.indexOf(",");
  if (comma < 0) return file;
  const slash = file.lastIndexOf("/", comma);
  return slash < 0 ? "." : file.slice(0, Math.max(1, slash));
}
