import type { NatsConnection } from "@nats-io/nats-core";
// @ts-types="../../../src/std/pick.d.ts"
import { pick } from "@std/collections/pick";
import { createGateway } from "../../../server.ts";
import { upstreamUrl } from "../../../src/gateway/fleet.ts";
import { Opened } from "../../../src/platform/opened.ts";
import type { CommandSpec } from "../../command.ts";
import { commonOptions, tlsOf } from "../../http/flags.ts";
import {
  addressesOf,
  filesOfFlags,
  logPermissions,
  permittedCommand,
  readPermissions,
} from "../../http/permissions.ts";
import { serveUntilStopped } from "../../http/serving.ts";
import { readText } from "../../input.ts";
import { Interrupt, stopSignals } from "../../interrupt.ts";
import { BadFlags } from "../../option.ts";
import { listen } from "../../nats/announcements.ts";
import {
  connectNats,
  natsFiles,
  natsPermission,
} from "../../nats/connection.ts";
import { note, printable } from "../../terminal.ts";
import {
  gatewayFlagNames,
  type GatewayFlags,
  gatewayFlags,
} from "./options.ts";
import { FoundUpstreams } from "./found_upstreams.ts";
import { upstreamsOf } from "./upstreams.ts";

/** One address before several servers. */
export const gateway: CommandSpec = {
  name: "gateway",
  summary:
    "one address before several servers: each request goes to one that has its model and knows how its prompt begins",
  options: gatewayFlags,
  examples: [
    "culm gateway --upstream http://10.0.0.1:8080 --upstream http://10.0.0.2:8080",
    "culm gateway --upstreams-file servers.txt --api-key-file keys.txt --host 0.0.0.0",
  ],
  run,
};

async function run(flags: GatewayFlags): Promise<number> {
  const { queue } = flags;
  if ((flags.upstreams ?? flags.upstreamsFile ?? queue) === undefined) {
    throw new BadFlags(
      "Cannot be a gateway before nothing: --upstream, --upstreams-file or --queue",
    );
  }
  const upstreams = await upstreamsOf(flags);
  if (flags.printPermissions) {
    console.log(permittedCommand(Deno.args, permissionsOf(flags, upstreams)));
    return 0;
  }
  await using opened = new Opened();
  const common = await commonOptions(flags, opened), tls = await tlsOf(flags);
  const { upstreamKeyFile: keyFile } = flags;
  await using gateway = createGateway([], {
    ...pick(flags, gatewayFlagNames as (keyof GatewayFlags)[]),
    ...common,
    upstreamKey: keyFile && (await readText(keyFile)).trim(),
    onChange: (line) => note(printable(line)),
  });
  const found = new FoundUpstreams(gateway);
  found.list(upstreams);
  if (queue !== undefined) {
    const nats = await connectNats(queue, flags, "culm gateway");
    opened.defer(() => nats.close());
    listenFor(found, nats);
  }
  using interrupt = new Interrupt(stopSignals, readAgain(found, flags));
  await serveUntilStopped(gateway, flags, {
    hasKeys: common.apiKeys!.length > 0,
    tls,
    signal: interrupt.signal,
  });
  return 0;
}

/** Servers that announce themselves are upstreams. What is no announcement is said. */
function listenFor(found: FoundUpstreams, nats: NatsConnection): void {
  const refuse = (why: string) =>
    note(`warning: Cannot use what a server says by NATS: ${printable(why)}`);
  listen(nats, (announcement) => {
    try {
      found.hear(announcement);
    } catch (error) {
      refuse((error as Error).message);
    }
  }, refuse);
}

/** Reads the file of upstreams again at SIGHUP, where there is one. What is wrong with it is said, and those that there were stay. */
function readAgain(
  found: FoundUpstreams,
  flags: GatewayFlags,
): (readonly [Deno.Signal, () => void])[] {
  const { upstreamsFile } = flags;
  if (upstreamsFile === undefined || Deno.build.os === "windows") return [];
  return [["SIGHUP", async () => {
    try {
      const upstreams = await upstreamsOf(flags);
      found.list(upstreams);
      note(`read ${printable(upstreamsFile)}: ${upstreams.length} upstreams`);
    } catch (error) {
      note(`error: ${printable((error as Error).message)}`);
    }
  }]];
}

/** What it has to be permitted: other upstreams than those of the file now would need more. */
function permissionsOf(
  flags: GatewayFlags,
  upstreams: readonly string[],
): string[] {
  const hosts = upstreams.map((url) => {
    const { hostname, port, protocol } = new URL(upstreamUrl(url));
    return `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`;
  });
  const files = [
    flags.upstreamsFile,
    flags.upstreamKeyFile,
    ...filesOfFlags(flags),
    ...flags.queue === undefined ? [] : natsFiles(flags),
  ];
  return [
    // Nobody knows beforehand which servers will be found.
    flags.queue === undefined
      ? `--allow-net=${[...addressesOf(flags), ...hosts].join(",")}`
      : "--allow-net",
    ...flags.queue === undefined ? [] : [natsPermission],
    ...readPermissions(files.filter((file) => file !== undefined)),
    ...logPermissions(flags),
  ];
}
