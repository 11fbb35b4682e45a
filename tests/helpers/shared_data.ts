/** Where the shared test data lies, and whether it is there. */

const root = new URL("../../../shared/", import.meta.url);

/** The URL of a file of the shared data. */
export function sharedUrl(path: string): URL {
  return new URL(path, root);
}

/** Whether the shared data is beside the repository. Says so once where it is not. */
export const hasShared: boolean = (() => {
  try {
    return Deno.statSync(sharedUrl("tiny-bamboo/goldens.json")).isFile;
  } catch {
    console.error("skipped: ../shared is absent, which holds the test data");
    return false;
  }
})();

/** Registers a test that is skipped where the shared data is absent. */
export function testWithShared(
  name: string,
  run: (t: Deno.TestContext) => Promise<void>,
): void {
  Deno.test({ name, ignore: !hasShared, fn: run });
}

/** Reads a JSON file of the shared data. */
export function sharedJson<T>(path: string): T {
  return JSON.parse(Deno.readTextFileSync(sharedUrl(path)));
}
