/** Whether this machine has a WebGPU adapter, if only one in software. */
import { findAdapter } from "../../src/places/gpu/device/device.ts";
import { needs, testNeeding } from "./needs.ts";

/** Whether there is one. */
export const hasAdapter: boolean = await findAdapter() !== undefined;

/** Registers a test that is skipped where there is no adapter. */
export function testWithAdapter(
  name: string,
  run: (t: Deno.TestContext) => Promise<void>,
): void {
  // A driver keeps threads and files for as long as the process lives.
  testNeeding(needs.adapter, hasAdapter, {
    name,
    sanitizeResources: false,
    sanitizeOps: false,
    fn: run,
  });
}
