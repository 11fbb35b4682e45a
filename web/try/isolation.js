/** Threads need an isolated page: where the host does not send the headers for that, a service worker adds them. */

const triedName = "culm-isolation-tried";

/**
 * Isolates the page, where that can be: the first time it is loaded anew, which
 * this does not outlive.
 */
export async function isolate() {
  if (globalThis.crossOriginIsolated || !navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register("isolation_worker.js");
    await navigator.serviceWorker.ready;
    // Once: where that did not help, it will not.
    if (sessionStorage.getItem(triedName)) return;
    sessionStorage.setItem(triedName, "yes");
  } catch {
    return;
  }
  location.reload();
  await new Promise(() => {});
}

/** Whether several threads compute, and why, for people. */
export function isolationText() {
  if (!globalThis.crossOriginIsolated) {
    return "one thread: this page may not share memory here";
  }
  return navigator.serviceWorker?.controller
    ? "isolated by the page's service worker"
    : "isolated by its host";
}
