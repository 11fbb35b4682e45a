/** Addresses that a server listens on, as people write them. */
import { BadFlags } from "../option.ts";

/**
 * The addresses of a list with commas.
 *
 * @throws {BadFlags} where one is empty
 */
export function hostsOf(list: string): string[] {
  const hosts = list.split(",").map((host) => host.trim());
  if (!hosts.includes("")) return hosts;
  throw new BadFlags(
    `Cannot listen on --host ${JSON.stringify(list)}: an address is empty`,
  );
}

/** An address as it stands in a URL: those of IPv6 in brackets. */
export function hostInUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** Whether nobody but this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === "::1" || host.startsWith("127.");
}
