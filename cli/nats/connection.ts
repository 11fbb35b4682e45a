/**
 * Connections to NATS: the flags and variables that say where it is and who
 * asks, which have the names of NATS's own command line.
 *
 * @module
 */
import type {
  Authenticator,
  ConnectionOptions,
  NatsConnection,
} from "@nats-io/nats-core";
import { CulmError } from "../../mod.ts";
import { variable } from "../../src/platform/permission.ts";
import { readText } from "../input.ts";
import { BadFlags, type FlagsOf, type FlagTable } from "../option.ts";
import { printable } from "../terminal.ts";

const file = (flag: string, name: string, description: string) => ({
  type: "string",
  flag: `--nats-${flag} <file>`,
  defaultText: name,
  description,
} as const);

/** Who asks, and how the connection is kept safe. Each has a variable for where it is left out. */
export const natsOptions = {
  natsCreds: file("creds", "NATS_CREDS", "credentials: a JWT and its nkey"),
  natsNkey: file("nkey", "NATS_NKEY", "the seed of an nkey"),
  natsUser: {
    type: "string",
    flag: "--nats-user <name>",
    defaultText: "NATS_USER",
    description: "a user's name, whose password NATS_PASSWORD has",
  },
  natsPasswordFile: {
    type: "string",
    flag: "--nats-password-file <file>",
    description: "a file with the user's password, in place of NATS_PASSWORD",
  },
  natsCa: file("ca", "NATS_CA", "certificates (PEM) that servers are known by"),
  natsCert: file("cert", "NATS_CERT", "the client's certificate (PEM)"),
  natsKey: file("key", "NATS_KEY", "its private key (PEM)"),
} as const satisfies FlagTable;

/** What {@linkcode natsOptions} give. */
export type NatsFlags = FlagsOf<typeof natsOptions>;

/** Least time in which a server that has gone is noticed, in ms: two pings without an answer. */
const pingInterval = 5000;

/**
 * Connects to the servers of a list with commas: `nats://host:4222`, or
 * `tls://…`, which is refused where the server has no TLS. A connection that is
 * lost is made anew as long as it takes. The caller closes it. Answers come to
 * subjects below `_INBOX.` and the `name` of the role.
 *
 * @throws {BadFlags} for what is no such address, and flags that do not go together
 * @throws {CulmError} where nobody answers, or the credentials are refused
 */
export async function connectNats(
  urls: string,
  flags: NatsFlags,
  name: string,
): Promise<NatsConnection> {
  const nats = await import("@nats-io/transport-node");
  const { NatsTransport } = await import("./transport.ts");
  nats.setTransportFactory({ factory: () => new NatsTransport() });
  const servers = urls.split(",").map((url) => addressOf(url.trim()));
  const options: ConnectionOptions = {
    servers: servers.map(({ host }) => host),
    name,
    // Others of the account may not listen there.
    inboxPrefix: `_INBOX.${name.replaceAll(" ", "_")}`,
    pingInterval,
    maxPingOut: 2,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 500,
    timeout: 10_000,
    ...await tlsOf(flags, servers.some(({ isSafe }) => isSafe)),
    authenticator: await authenticatorOf(flags, nats),
  };
  try {
    return await nats.NatsConnectionImpl.connect(options);
  } catch (error) {
    throw new CulmError(`Cannot connect to ${urls}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** What lets the variables be read that stand for flags. */
export const natsPermission =
  "--allow-env=NATS_CREDS,NATS_NKEY,NATS_USER,NATS_PASSWORD,NATS_CA,NATS_CERT,NATS_KEY";

/** The files that flags name, or variables. */
export function natsFiles(flags: NatsFlags): (string | undefined)[] {
  return [
    flags.natsCreds ?? variable("NATS_CREDS"),
    flags.natsNkey ?? variable("NATS_NKEY"),
    flags.natsPasswordFile,
    flags.natsCa ?? variable("NATS_CA"),
    flags.natsCert ?? variable("NATS_CERT"),
    flags.natsKey ?? variable("NATS_KEY"),
  ];
}

/** The hosts and ports of a list of addresses, as permissions have them. */
export function natsHosts(urls: string): string[] {
  return urls.split(",").map((url) => addressOf(url.trim()).host)
    .map((host) => /:\d+$/.test(host) ? host : `${host}:4222`);
}

/** @throws {BadFlags} for what is no address of a server */
function addressOf(text: string): { host: string; isSafe: boolean } {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isAddress = url && /^(nats|tls):$/.test(url.protocol) &&
    url.host !== "" && /^\/?$/.test(url.pathname + url.search + url.hash);
  if (url?.username || url?.password) {
    throw new BadFlags(
      "Cannot take a password from an address, which others may see: --nats-user, and NATS_PASSWORD or --nats-password-file",
    );
  }
  if (isAddress) return { host: url.host, isSafe: url.protocol === "tls:" };
  throw new BadFlags(
    `Cannot connect to ${JSON.stringify(text)}: it is no nats://HOST:PORT`,
  );
}

/** What makes a connection safe, where it is to be. */
async function tlsOf(
  { natsCa, natsCert, natsKey }: NatsFlags,
  isSafe: boolean,
): Promise<Pick<ConnectionOptions, "tls">> {
  const [ca, cert, key] = await Promise.all([
    textOf(natsCa ?? variable("NATS_CA")),
    textOf(natsCert ?? variable("NATS_CERT")),
    textOf(natsKey ?? variable("NATS_KEY")),
  ]);
  if ((cert === undefined) !== (key === undefined)) {
    throw new BadFlags(
      "Cannot show a certificate: --nats-cert and --nats-key go together",
    );
  }
  if (!isSafe && (ca ?? cert) === undefined) return {};
  // Keys without a value would hide the system's certificates.
  return { tls: { ...ca && { ca }, ...cert && { cert, key } } };
}

/**
 * Who asks, by the flags; by the variables where there are none.
 *
 * @throws {BadFlags} for two at a time
 * @throws {CulmError} for files without credentials
 */
async function authenticatorOf(
  { natsCreds, natsNkey, natsUser, natsPasswordFile }: NatsFlags,
  nats: typeof import("@nats-io/transport-node"),
): Promise<Authenticator | undefined> {
  const given = [natsCreds, natsNkey, natsUser]
    .filter((value) => value !== undefined);
  if (given.length > 1) {
    throw new BadFlags(
      "Cannot be several users: one of --nats-creds, --nats-nkey and --nats-user",
    );
  }
  const of = given.length > 0 ? () => undefined : variable;
  const bytes = (text: string) => new TextEncoder().encode(text);
  const creds = natsCreds ?? of("NATS_CREDS");
  if (creds !== undefined) {
    // Its last line is known by its end.
    const text = bytes(`${await secretOf(creds)}\n`);
    return checked(creds, nats.credsAuthenticator(text));
  }
  const nkey = natsNkey ?? of("NATS_NKEY");
  if (nkey !== undefined) {
    const seed = bytes(await secretOf(nkey));
    return checked(nkey, nats.nkeyAuthenticator(seed));
  }
  const user = natsUser ?? of("NATS_USER");
  if (user === undefined) return undefined;
  const password = natsPasswordFile === undefined
    ? variable("NATS_PASSWORD")
    : await secretOf(natsPasswordFile);
  return nats.usernamePasswordAuthenticator(user, password);
}

/** @throws {CulmError} where what the file has signs nothing */
function checked(path: string, authenticator: Authenticator): Authenticator {
  try {
    authenticator("nonce");
    return authenticator;
  } catch (error) {
    throw new CulmError(
      `Cannot read the credentials in ${path}: ${reasonOf(error)}`,
    );
  }
}

/** A file's text without what blanks stand around it. */
async function secretOf(path: string): Promise<string> {
  return (await readText(path)).trim();
}

async function textOf(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : await readText(path);
}

/** What went wrong, in NATS's words, with what lies behind it. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, cause } = error;
  const more = cause instanceof Error && !message.includes(cause.message)
    ? `: ${reasonOf(cause)}`
    : "";
  return printable(`${message}${more}`.replace(/\s*\n\s*/g, " "));
}
