// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import type { LanguageModel } from "../../../mod.ts";
import { createServer } from "../../../server.ts";
import { Opened } from "../../../src/platform/opened.ts";
import { readTemplate } from "../../chat_template.ts";
import { announcing } from "./announcing.ts";
import type { CommandSpec } from "../../command.ts";
import { commonOptions, split, tlsOf } from "../../http/flags.ts";
import { permittedCommand } from "../../http/permissions.ts";
import { serveUntilStopped } from "../../http/serving.ts";
import { Interrupt, stopSignals } from "../../interrupt.ts";
import { loadModel } from "../../model_file.ts";
import { BadFlags } from "../../option.ts";
import { localModel } from "../../options.ts";
import {
  samplingFlagNames,
  type ServeFlags,
  serveOptions,
  serverFlagNames,
} from "./options.ts";
import { modelsOfDir } from "./models_dir.ts";
import { permissionsOf } from "./permissions.ts";

/** Serves a model over HTTP. */
export const serve: CommandSpec = {
  name: "serve",
  summary:
    "serve a model over HTTP, as OpenAI's and llama.cpp's clients expect",
  options: serveOptions,
  readsHeader: ({ printPermissions }: ServeFlags) => printPermissions ?? false,
  examples: [
    "culm serve -m model.gguf",
    "culm serve -m model.gguf -c 8192 -np 8 --port 8081",
    "culm serve --models-dir models --models-max 2 --sleep-idle-seconds 600",
  ],
  run,
};

async function run(flags: ServeFlags): Promise<number> {
  if (flags.printPermissions) {
    console.log(permittedCommand(Deno.args, await permissionsOf(flags)));
    return 0;
  }
  using interrupt = new Interrupt(stopSignals);
  const { promise: loading, resolve } = Promise.withResolvers<LanguageModel>();
  const { template, modelsDir, ...asked } = flags;
  if (modelsDir !== undefined && flags.model !== undefined) {
    throw new BadFlags("Cannot serve a folder and a model: --models-dir or -m");
  }
  const catalogue = modelsDir === undefined
    ? undefined
    : await modelsOfDir(modelsDir, flags);
  const named = (names: readonly string[]) =>
    Object.fromEntries(
      Object.entries(asked).filter(([name]) => names.includes(name)),
    );
  const path = localModel(flags);
  await using opened = new Opened();
  const common = await commonOptions(flags, opened), tls = await tlsOf(flags);
  await using server = createServer(catalogue ?? loading, {
    ...named(serverFlagNames),
    ...common,
    sampling: named(samplingFlagNames),
    aliases: split(flags.aliases) ?? (path && [basename(path)]),
    template: await readTemplate(template),
    templateVariables: flags.templateVariables,
  });
  const announce = await announcing(flags, opened);
  await serveUntilStopped(server, flags, {
    hasKeys: common.apiKeys!.length > 0,
    tls,
    signal: interrupt.signal,
    async ready([url]) {
      if (!catalogue) resolve(opened.use(await loadModel(flags, interrupt)));
      const announcer = announce?.(url);
      if (!announcer) return;
      opened.use(announcer);
      interrupt.signal.addEventListener("abort", () => announcer.leave());
    },
  });
  return 0;
}
