/** The flags of `culm gateway`. */
import { gatewayOptions } from "../../../server.ts";
import { httpOptions } from "../../http/options.ts";
import { natsOptions } from "../../nats/connection.ts";
import type { FlagGroups, FlagsOfGroups } from "../../option.ts";

/** Those of the library that are flags of the same names. */
const {
  upstreamKey: _key,
  log: _log,
  onError: _error,
  onChange: _change,
  ...limits
} = gatewayOptions;

/** Under the headings of its help. */
export const gatewayFlags = {
  Upstreams: {
    upstreams: {
      type: "strings",
      flag: "--upstream <url>",
      description:
        "a server of OpenAI's form, http://HOST:PORT; again for each other one, or with commas",
    },
    upstreamsFile: {
      type: "string",
      flag: "--upstreams-file <file>",
      description:
        "a file with such addresses, one a line, which is read again at SIGHUP; one that is no longer there gets no more requests",
    },
    upstreamKeyFile: {
      type: "string",
      flag: "--upstream-api-key-file <file>",
      description: "a file with the key that upstreams ask for",
    },
    queue: {
      type: "string",
      flag: "--queue <url>",
      description:
        "servers of NATS, nats://HOST:4222, by which culm serve --announce says that it is there; with commas, those of a cluster",
    },
    ...natsOptions,
  },
  Gateway: { ...httpOptions, ...limits },
} as const satisfies FlagGroups;

/** What the flags give. */
export type GatewayFlags = FlagsOfGroups<typeof gatewayFlags>;

/** What of the flags the library's options are. */
export const gatewayFlagNames: readonly string[] = Object.keys(limits);
