/**
 * Bamboo-7B on the machines of its published figures, predicted and published
 * side by side.
 *
 * @module
 */
import type { Sparsity } from "../../../mod.ts";
import { asType, synthModel, synthShapes } from "../../../lab.ts";
import type { GgmlType, Model } from "../../../gguf.ts";
import { type KnownMachine, knownMachines } from "../../../plan.ts";
import { aligned, formatTable } from "../../format.ts";
import { type PlanRequest, predictBest, tokensPerSecond } from "./planning.ts";

/** Tokens a second of F16 weights, as the model's page gives them. */
const published: Readonly<
  Record<string, { powerInfer: number; llamaCpp: number }>
> = {
  "rtx-2080ti": { powerInfer: 33.5, llamaCpp: 7.64 },
  "rtx-4090": { powerInfer: 92.46, llamaCpp: 58.34 },
  "i9-13900k": { powerInfer: 9.94, llamaCpp: 4.78 },
};

/** About the rank of Bamboo-7B's predictors, in whole blocks. */
const predictorRank = 1280;

/** Bamboo-7B as PowerInfer's files hold it, with predictors, of F16 weights. */
export async function bamboo7b(): Promise<Model> {
  return await synthModel({
    shape: synthShapes["bamboo-7b"],
    type: "F16",
    form: "powerinfer",
    activation: "drelu",
    gatePositive: 0.39,
    active: 0.148,
    predictor: { rank: predictorRank, recall: 0.95 },
    seed: 1,
  });
}

/** One line: a machine, a type, what is predicted, and what was published. */
export interface KnownRow {
  readonly machine: string;
  readonly type: GgmlType;
  /** Tokens a second, by mode */
  readonly predicted: Readonly<Record<Mode, number>>;
  readonly published?: {
    readonly powerInfer: number;
    readonly llamaCpp: number;
  };
}

type Mode = Extract<Sparsity["mode"], "dense" | "exact" | "predictor">;
const modes: readonly Mode[] = ["dense", "exact", "predictor"];

/** Predicts F16 and Q4_0 on machines, given by name; each mode has a plan of its own. */
export function predictKnown(
  names: readonly string[],
  request: Omit<PlanRequest, "machine" | "budget">,
  budgetOf: (machine: KnownMachine) => number,
): KnownRow[] {
  return names.flatMap((name) => {
    const machine = knownMachines[name];
    return (["F16", "Q4_0"] as const).map((type): KnownRow => {
      const rate = (mode: Mode) =>
        tokensPerSecond(predictBest({
          ...request,
          model: asType(request.model, type),
          machine,
          budget: budgetOf(machine),
          sparsity: { mode },
        }));
      return {
        machine: name,
        type,
        predicted: {
          dense: rate("dense"),
          exact: rate("exact"),
          predictor: rate("predictor"),
        },
        published: type === "F16" ? published[name] : undefined,
      };
    });
  });
}

/** The lines as a table. */
export function knownText(rows: readonly KnownRow[]): string {
  const number = (value?: number) =>
    value === undefined ? "-" : value.toFixed(2);
  const header = [
    "machine",
    "type",
    ...modes,
    "PowerInfer",
    "llama.cpp",
  ];
  const cells = rows.map(({ machine, type, predicted, published }) => [
    knownMachines[machine].description,
    type,
    ...modes.map((mode) => number(predicted[mode])),
    number(published?.powerInfer),
    number(published?.llamaCpp),
  ]);
  return "Bamboo-7B, tokens a second: predicted for culm by sparsity, and published\n" +
    formatTable(aligned([header, ...cells], 2));
}
