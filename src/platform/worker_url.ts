/** Where the file of all workers lies, where they may not be started as text. */
let given: string | undefined;

/**
 * Starts workers from `culm-worker.js` at this address from now on: where the
 * policy of a page forbids `blob:`.
 */
export function setWorkerUrl(url: string | URL): void {
  given = String(url);
}

/** The address that was given. */
export function givenWorkerUrl(): string | undefined {
  return given;
}
