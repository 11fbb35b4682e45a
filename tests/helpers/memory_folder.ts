/** Folders in memory, and safetensors files to put into them. */
import { fromBuffer } from "../../src/bytes/memory.ts";
import type { Folder } from "../../src/bytes/folder.ts";
import { UsageError } from "../../src/errors.ts";

/** A file's bytes, its text, or what its JSON says. */
export type FileContent = Uint8Array | string | object;

/** A folder of these files. */
export function memoryFolder(
  files: Readonly<Record<string, FileContent>>,
  name = "folder",
): Folder {
  return {
    name,
    files: new Set(Object.keys(files)),
    // deno-lint-ignore require-await -- a missing file must be a rejection
    open: async (file) => {
      const path = `${name}/${file}`;
      if (!Object.hasOwn(files, file)) {
        throw new UsageError(`Cannot open ${path}: there is no such file`);
      }
      return fromBuffer(bytesOf(files[file]), path);
    },
  };
}

function bytesOf(content: FileContent): Uint8Array {
  if (content instanceof Uint8Array) return content;
  const text = typeof content === "string" ? content : JSON.stringify(content);
  return new TextEncoder().encode(text);
}

/** A tensor of a safetensors file; its sizes slowest first. */
export interface TensorOfFile {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** A safetensors file. */
export function safetensorsFile(
  tensors: Readonly<Record<string, TensorOfFile>>,
): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    const data_offsets = [end, end += data.length];
    header[name] = { dtype, shape, data_offsets };
  }
  return withHeader(
    JSON.stringify(header),
    ...Object.values(tensors).map(({ data }) => data),
  );
}

/** A file with this header, whatever it says. */
export function withHeader(
  header: string,
  ...data: Uint8Array[]
): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(header);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return new Uint8Array(
    [length, json, ...data].flatMap((part) => [...part]),
  );
}
