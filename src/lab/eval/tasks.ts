/**
 * The tasks that there are.
 *
 * @module
 */
import type { EvalTask } from "./task.ts";
import { arcChallenge, arcEasy } from "./tasks/arc.ts";
import { gsm8k } from "./tasks/gsm8k.ts";
import { hellaswag } from "./tasks/hellaswag.ts";
import { lambada } from "./tasks/lambada.ts";
import { piqa } from "./tasks/piqa.ts";
import { winogrande } from "./tasks/winogrande.ts";

/** Every task, in the order in which they are run. */
export const evalTasks: readonly EvalTask[] = [
  arcEasy,
  arcChallenge,
  hellaswag,
  piqa,
  winogrande,
  lambada,
  gsm8k,
];
