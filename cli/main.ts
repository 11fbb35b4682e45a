/**
 * The command line: `deno run jsr:@culm/culm/cli generate -p "Once upon a time"`.
 *
 * ```sh
 * deno run jsr:@culm/culm/cli --help
 * ```
 *
 * @module
 */
import { quietMesa } from "./mesa.ts";
import { main } from "./program.ts";

export { main };

if (import.meta.main) {
  await quietMesa();
  Deno.exit(await main(Deno.args));
}
