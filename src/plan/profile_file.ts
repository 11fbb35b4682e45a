/**
 * Activation profiles as files: GGUF, with two tensors a layer,
 * `blk.N.gate_positive` and `blk.N.active`, each F32 `[feedForwardSize]`.
 */
import { sha256 } from "../bytes/sha256.ts";
import type { ByteSource } from "../bytes/byte_source.ts";
import { FormatError, LimitError } from "../errors.ts";
import { dequantise } from "../formats/ggml/dequantise.ts";
import { quantise } from "../formats/ggml/quantise.ts";
import { entry } from "../formats/gguf/gguf_file.ts";
import {
  getNumber,
  getString,
  type GgufFile,
  type MetadataEntry,
  readGguf,
} from "../formats/gguf/read.ts";
import {
  type TensorToWrite,
  toBuffer,
  writeGguf,
} from "../formats/gguf/write.ts";
import type { LayerProfile, Profile } from "./profile.ts";

const kind = "activation-profile";
/** The most tokens that a profile may count: above, f32 no longer holds every count. */
export const mostProfileTokens: number = 2 ** 24;

/** How far a text has been profiled, so that the work can be taken up again. */
export interface ProfileProgress {
  /** SHA-256 of the ids that are being profiled, in hexadecimal */
  readonly text: string;
  /** How many of them have been */
  readonly position: number;
}

/** A profile, and what it still has to do. */
export interface ProfileFile {
  /** The counts so far */
  readonly profile: Profile;
  /** Where the text was left, if it was not finished */
  readonly progress?: ProfileProgress;
}

/**
 * A profile's bytes.
 *
 * @throws {LimitError} where it counts more tokens than a file holds, 2^24
 */
export async function writeProfile(
  { profile, progress }: ProfileFile,
): Promise<Uint8Array<ArrayBuffer>> {
  if (profile.tokens > mostProfileTokens) {
    throw new LimitError(
      `Cannot write a profile of ${profile.tokens} tokens: the most is ${mostProfileTokens}`,
    );
  }
  const tensors = profile.layers.flatMap((layer, i): TensorToWrite[] => {
    const tensor = (name: string, counts: Uint32Array) => ({
      name: `blk.${i}.${name}`,
      type: "F32" as const,
      shape: [counts.length],
      data: quantise("F32", Float32Array.from(counts)),
    });
    return [
      tensor("gate_positive", layer.gatePositive),
      tensor("active", layer.active),
    ];
  });
  const metadata: [string, MetadataEntry][] = [
    ["general.type", entry.text(kind)],
    ["profile.tokens", { type: "uint64", value: profile.tokens }],
  ];
  if (progress) {
    const { text, position } = progress;
    metadata.push(["profile.text", entry.text(text)]);
    metadata.push(["profile.position", { type: "uint64", value: position }]);
    const digest = await digestOf(profile, progress);
    metadata.push(["profile.sha256", entry.text(digest)]);
  }
  return await toBuffer(writeGguf({ metadata, tensors }));
}

/**
 * Reads a profile.
 *
 * @throws {FormatError} where the file is damaged or is no profile
 */
export async function readProfile(source: ByteSource): Promise<ProfileFile> {
  const file = await readGguf(source);
  const refuse = (what: string): never => {
    throw new FormatError(`Cannot read profile ${source.name}: ${what}`);
  };
  if (getString(file, "general.type") !== kind) {
    refuse(`general.type is not "${kind}"`);
  }
  const tokens = getNumber(file, "profile.tokens") ?? -1;
  if (!(tokens >= 0 && tokens <= mostProfileTokens)) {
    refuse(`profile.tokens is ${tokens}, the most is ${mostProfileTokens}`);
  }
  const layers: LayerProfile[] = [];
  for (let i = 0; file.tensors.has(`blk.${i}.active`); i++) {
    const read = (name: string) =>
      readCounts(source, file, `blk.${i}.${name}`, tokens);
    layers.push({
      gatePositive: await read("gate_positive"),
      active: await read("active"),
    });
  }
  const text = getString(file, "profile.text");
  const position = getNumber(file, "profile.position");
  const profile = { tokens, layers };
  const digest = getString(file, "profile.sha256");
  if ((text ?? position ?? digest) === undefined) return { profile };
  const progress = { text: text ?? "", position: position ?? 0 };
  if (digest !== await digestOf(profile, progress)) {
    refuse("it was changed since it was left unfinished");
  }
  return { profile, progress };
}

/** SHA-256 of unfinished counts: what goes on from changed ones would be wrong. */
async function digestOf(
  { tokens, layers }: Profile,
  { text, position }: ProfileProgress,
): Promise<string> {
  const counts = layers.flatMap((layer) => [layer.gatePositive, layer.active]);
  const heading = JSON.stringify([text, position, tokens]);
  const bytes = await new Blob([heading, ...counts as BlobPart[]])
    .arrayBuffer();
  return await sha256(bytes);
}

async function readCounts(
  source: ByteSource,
  file: GgufFile,
  name: string,
  tokens: number,
): Promise<Uint32Array> {
  const tensor = file.tensors.get(name);
  if (tensor?.type !== "F32" || tensor.shape.length !== 1) {
    throw new FormatError(
      `Cannot read profile ${source.name}: ${name} is ${
        tensor ? `${tensor.type} [${tensor.shape.join(", ")}]` : "missing"
      }, needs F32 of one dimension`,
    );
  }
  const values = new Float32Array(tensor.shape[0]);
  const bytes = await source.read(tensor.offset, tensor.byteLength);
  dequantise("F32", bytes, values);
  const wrong = values.find((count) => !(count >= 0 && count <= tokens));
  if (wrong !== undefined) {
    throw new FormatError(
      `Cannot read profile ${source.name}: ${name} counts ${wrong} of ${tokens} tokens`,
    );
  }
  return Uint32Array.from(values);
}
