/**
 * What parts one architecture's arithmetic from another's, beside its tensors.
 * Of norms, the tensors say which there are: a layer without `attn_norm` reads
 * the residual as it is, one with `post_attention_norm` norms what it adds.
 */
import type { ChosenActivation } from "./activation.ts";
import type { Routing } from "./experts.ts";
import type { Rope, Rotation } from "./rope.ts";

/** How one layer attends. */
export interface LayerAttention {
  /** It reaches this many positions back, itself included; `undefined` = all */
  readonly window?: number;
  /** Which of the model's rotations turns its heads; `undefined` = none */
  readonly rotation?: number;
}

/** Traits of a model. */
export interface Traits extends ChosenActivation {
  /** What all norms but those of queries and keys are: RMS, or around the mean (layer norm) */
  readonly norm: "rms" | "layer";
  /** Epsilon of every norm */
  readonly normEpsilon: number;
  /** Whether queries and keys are normed head by head, or as a whole; where they are */
  readonly qkNorm?: "head" | "whole";
  /** Which elements of a head turn together */
  readonly rope: Rope;
  /** How far positions turn heads, in one way or several */
  readonly rotations: readonly Rotation[];
  /** The context that the model was first trained on, before it was stretched */
  readonly originalContextSize: number;
  /** How each layer attends, first to last */
  readonly attention: readonly LayerAttention[];
  /** Products of queries and keys are multiplied by this */
  readonly attentionScale: number;
  /** Attention scores s become cap · tanh(s / cap) */
  readonly scoreCap?: number;
  /** Queries of later positions are made longer: times 1 + scale · ln(1 + ⌊position / length⌋) */
  readonly temperature?: { readonly scale: number; readonly length: number };
  /** How tokens choose among experts, where there are several */
  readonly routing?: Routing;
  /** Embeddings are multiplied by this */
  readonly embeddingScale: number;
  /** What a layer's halves add to the residual is multiplied by this */
  readonly residualScale: number;
  /** Logits are multiplied by this */
  readonly logitScale: number;
  /** Logits z become cap · tanh(z / cap), after that */
  readonly logitCap?: number;
}

/** What queries of a position are multiplied by. */
export function queryScale(
  { temperature }: Pick<Traits, "temperature">,
  position: number,
): number {
  if (!temperature) return 1;
  const { scale, length } = temperature;
  return 1 + scale * Math.log(1 + Math.floor(position / length));
}
