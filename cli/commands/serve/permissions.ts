/** What a server has to be permitted. */
import { partNames } from "../../../src/bytes/parts.ts";
import { isTemplateFile } from "../../chat_template.ts";
import { besideModel, isReadable } from "../../beside_model.ts";
import {
  addressesOf,
  filesOfFlags,
  logPermissions,
  readPermissions,
} from "../../http/permissions.ts";
import { hubFlags } from "../../hub_model.ts";
import { localModel } from "../../options.ts";
import { natsFiles, natsHosts, natsPermission } from "../../nats/connection.ts";
import type { ServeFlags } from "./options.ts";

/** Endings of files beside a model that are read where they are there. */
const beside = ["profile", "predictor", "generated.gpuidx", "gpuidx"];

/** The permissions that it needs. */
export async function permissionsOf(
  flags: ServeFlags,
): Promise<string[]> {
  const { model } = flags;
  const { announce } = flags;
  const nats = announce === undefined ? [] : natsHosts(announce);
  const net = [...addressesOf(flags), ...nats].join(",");
  const others = [
    ...announce === undefined ? [] : [natsPermission],
    ...logPermissions(flags),
  ];
  if (model !== undefined && /^hf:/.test(model)) {
    const asked = hubFlags.replace("--allow-net=", `--allow-net=${net},`);
    return [...asked.split(" "), ...others];
  }
  const hosts = model !== undefined && /^https?:/.test(model)
    ? [net, new URL(model).host]
    : [net];
  const files = await filesOf(flags);
  return [
    `--allow-net=${hosts.join(",")}`,
    ...readPermissions(files),
    ...others,
  ];
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
    ...filesOfFlags(flags),
    ...flags.announce === undefined ? [] : natsFiles(flags),
  ];
  return [...files, ...named.filter((file) => typeof file === "string")];
}
