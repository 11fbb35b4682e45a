/** What a server has to be permitted, as a command that permits no more. */
import { partNames } from "../../../src/bytes/parts.ts";
import { isTemplateFile } from "../../chat_template.ts";
import { besideModel, isReadable } from "../../beside_model.ts";
import { hubFlags } from "../../hub_model.ts";
import { localModel } from "../../options.ts";
import { shellWord } from "../../shell.ts";
import { hostInUrl, hostsOf } from "./addresses.ts";
import type { ServeFlags } from "./options.ts";

/** The arguments that ask for the command, and not for what it does. */
const asks = "--print-permissions";

/** Endings of files beside a model that are read where they are there. */
const beside = ["profile", "predictor", "generated.gpuidx", "gpuidx"];

/** The command that serves as `args` say, with the permissions that it needs, which are asked of nobody. */
export async function permittedCommand(
  args: readonly string[],
  flags: ServeFlags,
): Promise<string> {
  const program = new URL(Deno.mainModule);
  const words = [
    "deno",
    "run",
    "--no-prompt",
    ...await permissionsOf(flags),
    program.protocol === "file:" ? program.pathname : program.href,
    ...args.filter((arg) => arg !== asks),
  ];
  return words.map(shellWord).join(" ");
}

async function permissionsOf(flags: ServeFlags): Promise<string[]> {
  const { host, port, model, logFile } = flags;
  const written = logFile === undefined
    ? []
    : [`--allow-write=${permitted(logFile)}`];
  const net = hostsOf(host).map(hostInUrl)
    .map((address) => port === 0 ? address : `${address}:${port}`).join(",");
  if (model !== undefined && /^hf:/.test(model)) {
    const asked = hubFlags.replace("--allow-net=", `--allow-net=${net},`);
    return [...asked.split(" "), ...written];
  }
  const hosts = model !== undefined && /^https?:/.test(model)
    ? [net, new URL(model).host]
    : [net];
  const files = await filesOf(flags);
  return [
    `--allow-net=${hosts.join(",")}`,
    ...files.length > 0
      ? [`--allow-read=${[...new Set(files.map(permitted))].join(",")}`]
      : [],
    ...written,
  ];
}

/** A file; where its name has a comma, which Deno takes for the end, the folder before that. */
function permitted(file: string): string {
  const comma = file.indexOf(",");
  if (comma < 0) return file;
  const slash = file.lastIndexOf("/", comma);
  return slash < 0 ? "." : file.slice(0, Math.max(1, slash));
}

/** The files that are read: those that are named, and those beside the model that are there. */
async function filesOf(flags: ServeFlags): Promise<string[]> {
  const path = localModel(flags);
  const { modelsDir } = flags;
  const files = modelsDir !== undefined
    ? [modelsDir]
    : path === undefined
    ? []
    : partNames(path) ?? [path];
  for (const ending of beside) {
    const file = besideModel(flags, ending);
    if (file !== undefined && await isReadable(file)) files.push(file);
  }
  const { template, predictor, profile, gpuIndex } = flags;
  const named = [
    predictor,
    profile,
    gpuIndex,
    template !== undefined && isTemplateFile(template) ? template : undefined,
    flags.apiKeyFile,
    flags.tlsCert,
    flags.tlsKey,
  ];
  return [...files, ...named.filter((file) => typeof file === "string")];
}
