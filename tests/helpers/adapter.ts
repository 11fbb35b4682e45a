/** Whether this machine has a WebGPU adapter, if only one in software. */
import { findAdapter } from "../../src/places/gpu/device/device.ts";

/** Whether there is one. Says so once where there is none. */
export const hasAdapter: boolean = await (async () => {
  if (await findAdapter() !== undefined) return true;
  console.error("skipped: no WebGPU adapter here; mesa-vulkan-drivers has one");
  return false;
})();

/** Registers a test that is skipped where there is no adapter. */
export function testWithAdapter(name: string, run: () => Promise<void>): void {
  // A driver keeps threads and files for as long as the process lives.
  Deno.test({
    name,
    ignore: !hasAdapter,
    sanitizeResources: false,
    sanitizeOps: false,
    fn: run,
  });
}
