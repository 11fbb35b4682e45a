/** How a service worker finds the pages that answer requests: each holds a lock with what the service worker calls it. */
const prefix = "culm answers ";

/** What a page posts to a service worker, with the port to which it answers what it calls the page. */
export const whoAmI = "culm who am I";

/** The lock of a page. */
export function routesLock(clientId: string): string {
  return prefix + clientId;
}

/** The pages whose locks are held. */
export async function routingClients(): Promise<string[]> {
  const { held = [] } = await navigator.locks.query();
  return held.filter(({ name }) => name!.startsWith(prefix))
    .map(({ name }) => name!.slice(prefix.length));
}
