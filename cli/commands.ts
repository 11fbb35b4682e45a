/**
 * The table of commands.
 *
 * @module
 */
import type { CommandSpec } from "./command.ts";
import { batch } from "./commands/batch/command.ts";
import { batchQueueCommands } from "./commands/batch/queue_commands.ts";
import { submit } from "./commands/batch/submit.ts";
import { worker } from "./commands/worker.ts";
import { bench } from "./commands/bench/command.ts";
import { cdf } from "./commands/cdf/command.ts";
import { chat } from "./commands/chat/command.ts";
import { convert } from "./commands/convert.ts";
import { evaluate } from "./commands/eval/command.ts";
import { gateway } from "./commands/gateway/command.ts";
import { generate } from "./commands/generate.ts";
import { inspect } from "./commands/inspect/command.ts";
import { list } from "./commands/list.ts";
import { profile } from "./commands/profile/command.ts";
import { perplexity } from "./commands/perplexity/command.ts";
import { plan } from "./commands/plan/command.ts";
import { predictor } from "./commands/predictor/command.ts";
import { pull } from "./commands/pull.ts";
import { race } from "./commands/race/command.ts";
import { report } from "./commands/report/command.ts";
import { rm } from "./commands/rm.ts";
import { serve } from "./commands/serve/command.ts";
import { sparsity } from "./commands/sparsity/command.ts";
import { synth } from "./commands/synth.ts";
import { tokenize } from "./commands/tokenize.ts";

/** Every command, in the order of `--help`. */
export const commands: readonly CommandSpec[] = [
  generate,
  chat,
  serve,
  gateway,
  batch,
  submit,
  ...batchQueueCommands,
  worker,
  pull,
  list,
  rm,
  inspect,
  tokenize,
  profile,
  predictor,
  plan,
  perplexity,
  cdf,
  evaluate,
  sparsity,
  report,
  bench,
  race,
  convert,
  synth,
];

/** The command of a name; a second word of its name is taken off `args`. */
export function commandOf(
  name: string,
  args: string[],
): CommandSpec | undefined {
  const of = (name: string) => commands.find((each) => each.name === name);
  const longer = of(`${name} ${args[0]}`);
  if (longer) args.shift();
  return longer ?? of(name);
}
