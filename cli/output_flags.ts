/**
 * Claiming the files that flags name, so that none that the command reads is
 * replaced.
 *
 * @module
 */
import { besideModel } from "./beside_model.ts";
import { OutputFile } from "./output_file.ts";

/** Names of files, of a flag that may be given once, several times, or refused. */
type Names = string | readonly string[] | false;

/** Flags that name what commands read, and whether they replace files. */
export interface FileFlags {
  readonly model?: Names;
  readonly file?: Names;
  readonly profile?: Names;
  readonly predictor?: Names;
  readonly gpuIndex?: Names;
  readonly merge?: Names;
  readonly measure?: Names;
  readonly force?: boolean;
}

/** Endings of what is read beside a model, unasked. */
const besideEndings = ["profile", "predictor", "generated.gpuidx", "gpuidx"];

/** What a command reads besides what its flags say, and what it does not. */
interface OtherInputs {
  /** Files and folders that it reads as well */
  readonly inputs?: readonly string[];
  /** The ending of what the command itself makes beside a model */
  readonly made?: string;
}

/**
 * Claims a file that a command with these flags writes.
 *
 * @throws {CulmError} where it cannot be written, or is one that the command reads
 */
export async function openOutput(
  path: string,
  flags: FileFlags,
  others: OtherInputs = {},
): Promise<OutputFile> {
  const { force } = flags;
  return await OutputFile.open(path, {
    force,
    inputs: inputsOf(flags, others),
  });
}

/** As {@linkcode openOutput}, where a file is given. */
export async function openIfGiven(
  path: string | undefined,
  flags: FileFlags,
  others?: OtherInputs,
): Promise<OutputFile | undefined> {
  return path === undefined ? undefined : await openOutput(path, flags, others);
}

/** The files and folders that a command reads, those beside its models included. */
function inputsOf(
  flags: FileFlags,
  { inputs = [], made }: OtherInputs = {},
): string[] {
  const { model, file, profile, predictor, gpuIndex, merge, measure } = flags;
  const named = [model, file, profile, predictor, gpuIndex, merge, measure];
  const endings = besideEndings.filter((ending) => ending !== made);
  const beside = [model].flat().flatMap((path) =>
    endings.map((ending) => besideModel({ model: path || undefined }, ending))
  );
  return [...named.flat(), ...beside, ...inputs].filter((name) =>
    typeof name === "string"
  );
}
