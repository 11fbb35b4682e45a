/** Telling gateways that a server is there. */
import { upstreamUrl } from "../../../src/gateway/fleet.ts";
import type { Opened } from "../../../src/platform/opened.ts";
import { hostsOf } from "../../http/addresses.ts";
import { Announcer } from "../../nats/announcements.ts";
import { connectNats } from "../../nats/connection.ts";
import { BadFlags } from "../../option.ts";
import type { ServeFlags } from "./options.ts";

/** Listening there is listening everywhere, and no address that others reach. */
const everywhere = ["0.0.0.0", "::"];

/**
 * What announces a server that is ready, by the first address that it listens on,
 * if it is to be announced. The connection is made before, and closed with `opened`.
 *
 * @throws {BadFlags} where nobody would know by which address it is reached
 * @throws {CulmError} where NATS is not reached
 */
export async function announcing(
  flags: ServeFlags,
  opened: Opened,
): Promise<((url: string) => Announcer) | undefined> {
  const { announce, announceAs, host } = flags;
  if (announce === undefined) return undefined;
  const [first] = hostsOf(host);
  if (announceAs === undefined && everywhere.includes(first)) {
    throw new BadFlags(
      `Cannot announce ${first}: --announce-as says by which address others reach it`,
    );
  }
  const own = announceAs && upstreamUrl(announceAs);
  const nats = await connectNats(announce, flags, "culm serve");
  opened.defer(() => nats.close());
  return (url) => new Announcer(nats, own ?? url);
}
