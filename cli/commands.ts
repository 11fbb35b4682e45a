/**
 * The table of commands.
 *
 * @module
 */
import type { CommandSpec } from "./command.ts";
import { bench } from "./commands/bench.ts";
import { cdf } from "./commands/cdf.ts";
import { chat } from "./commands/chat.ts";
import { convert } from "./commands/convert.ts";
import { evaluate } from "./commands/eval.ts";
import { generate } from "./commands/generate.ts";
import { inspect } from "./commands/inspect.ts";
import { profile } from "./commands/profile.ts";
import { perplexity } from "./commands/perplexity.ts";
import { plan } from "./commands/plan.ts";
import { predictor } from "./commands/predictor.ts";
import { report } from "./commands/report.ts";
import { synth } from "./commands/synth.ts";
import { tokenize } from "./commands/tokenize.ts";

/** Every command, in the order of `--help`. */
export const commands: readonly CommandSpec[] = [
  generate,
  chat,
  inspect,
  tokenize,
  profile,
  predictor,
  plan,
  perplexity,
  cdf,
  evaluate,
  report,
  bench,
  convert,
  synth,
];
