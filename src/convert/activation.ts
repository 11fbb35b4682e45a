/** Files that say which activation their model was made with, where they said another or none. */
import { UsageError } from "../errors.ts";
import { entry } from "../formats/gguf/gguf_file.ts";
import { getString } from "../formats/gguf/metadata.ts";
import {
  type ActivationChoice,
  chosenActivation,
  isFatRelu,
} from "../model/activation.ts";
import {
  activationMeant,
  architectures,
  statedActivations,
} from "../model/architectures.ts";
import type { Contents } from "./contents.ts";

/**
 * The same model, of which the file says that it has this activation.
 *
 * @throws {UsageError} where files of its architecture cannot say so
 */
export function withActivation(
  contents: Contents,
  choice: ActivationChoice,
): Contents {
  const architecture = getString(contents, "general.architecture") ?? "";
  const row = architectures.get(architecture);
  const stated = isFatRelu(choice)
    ? choice
    : [...statedActivations].find(([, meant]) => meant === choice)![0];
  if (!row || activationMeant(row, stated) !== choice) {
    throw new UsageError(
      `Cannot convert ${contents.name} with activation ${choice}: files of architecture ${
        architecture || "unknown"
      } cannot say that`,
    );
  }
  const metadata = new Map(contents.metadata);
  metadata.set(`${architecture}.hidden_activation`, entry.text(stated));
  const { activation } = chosenActivation(choice);
  return { ...contents, activation, metadata };
}
