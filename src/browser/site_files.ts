/** Files that a site serves beside its pages. */
import workerText from "../worker/worker.bundle.js";
import serviceWorkerText from "./service_worker.bundle.js";

/**
 * What a site serves beside its pages, by name: `culm-service-worker.js` for
 * {@linkcode routeRequests}, and `culm-worker.js` for {@linkcode setWorkerUrl}.
 */
export const siteFiles: Readonly<
  Record<"culm-service-worker.js" | "culm-worker.js", string>
> = {
  "culm-service-worker.js": serviceWorkerText,
  "culm-worker.js": workerText,
};
