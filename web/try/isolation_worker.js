/** A service worker that gives the page and its workers the headers that isolate them. It keeps nothing. */

const headers = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** What has to have them; what these load of their own site need not. */
const isolating = new Set(["document", "iframe", "worker"]);

addEventListener("install", (event) => event.waitUntil(skipWaiting()));
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  const { url, destination } = event.request;
  const isOwn = new URL(url).origin === location.origin;
  if (isOwn && isolating.has(destination)) {
    event.respondWith(isolated(event.request));
  }
});

async function isolated(request) {
  const response = await fetch(request);
  // A redirection is the browser's to follow.
  if (response.type === "opaqueredirect") return response;
  const { status, statusText } = response;
  const all = new Headers(response.headers);
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  const body = response.body && await response.blob();
  return new Response(body, { status, statusText, headers: all });
}
