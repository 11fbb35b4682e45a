/**
 * The errors that culm throws. Every message says what could not be done,
 * where, and both numbers where two numbers disagree.
 */

/** The base of every error that culm throws on purpose. */
export class CulmError extends Error {}

/** A file contradicts its format: it is cut, damaged, or hostile. */
export class FormatError extends CulmError {}

/** The input is well-formed, but needs something that culm cannot run. */
export class UnsupportedError extends CulmError {}

/** Something is larger than a stated limit. */
export class LimitError extends CulmError {}

/** A text does not fit the context that the model was loaded with. */
export class ContextError extends LimitError {
  /** `sizes` are the message's numbers, for programs. `tokens` are those of the text, or the fewest that it may have, where it is refused before they are counted. */
  constructor(
    message: string,
    readonly sizes?: { readonly tokens: number; readonly contextSize: number },
  ) {
    super(message);
  }
}

/** There is no memory for something: the machine has too little, or others hold it. */
export class MemoryError extends LimitError {}

/** A place (a worker, a device) failed or died. */
export class PlaceError extends CulmError {}

/** The GPU is missing, was lost, ran out of memory, or computes wrongly. */
export class GpuError extends PlaceError {}

/** The GPU has no memory for what it was to hold. */
export class GpuMemoryError extends GpuError {}

/** The caller's own argument is wrong. */
export class UsageError extends CulmError {}

/** A tokenizer's vocabulary or merges cannot be used. */
export class TokenizerError extends CulmError {}

const classes = {
  CulmError,
  FormatError,
  UnsupportedError,
  LimitError,
  ContextError,
  MemoryError,
  PlaceError,
  GpuError,
  GpuMemoryError,
  UsageError,
  TokenizerError,
};

// Stated here, since minifying a module renames its classes.
for (const [name, { prototype }] of Object.entries(classes)) {
  Object.defineProperty(prototype, "name", { value: name });
}

/** An error by the name of its class, as another thread reports it; undefined for any other name. */
export function errorOfName(
  name: string,
  message: string,
): CulmError | undefined {
  return Object.hasOwn(classes, name)
    ? new classes[name as keyof typeof classes](message)
    : undefined;
}
