/** Files as PyTorch writes them, made by hand, so that they may lie. */
import { deflateSync } from "fflate";

const utf8 = new TextEncoder();

/** A member of a zip, of which the directory may lie about its size. */
export type Member = [name: string, content: Uint8Array, declared: number];

/** A zip of one member. */
export function zipOf(...member: Member): Uint8Array {
  return zipOfAll([member]);
}

/** A zip of deflated members. */
export function zipOfAll(members: readonly Member[]): Uint8Array {
  const bytes: number[] = [], directory: number[] = [];
  const add = (to: number[], ...parts: (DataView | Uint8Array)[]) => {
    for (const { buffer, byteOffset, byteLength } of parts) {
      for (const byte of new Uint8Array(buffer, byteOffset, byteLength)) {
        to.push(byte);
      }
    }
  };
  for (const [name, content, declared] of members) {
    const packed = deflateSync(content);
    const path = utf8.encode(name);
    const local = new DataView(new ArrayBuffer(30));
    local.setUint32(0, 0x04034b50, true);
    local.setUint16(26, path.length, true);
    const entry = new DataView(new ArrayBuffer(46));
    entry.setUint32(0, 0x02014b50, true);
    entry.setUint16(10, 8, true);
    entry.setUint32(20, packed.length, true);
    entry.setUint32(24, declared, true);
    entry.setUint16(28, path.length, true);
    entry.setUint32(42, bytes.length, true);
    add(bytes, local, path, packed);
    add(directory, entry, path);
  }
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(10, members.length, true);
  end.setUint32(12, directory.length, true);
  end.setUint32(16, bytes.length, true);
  add(bytes, Uint8Array.from(directory), end);
  return Uint8Array.from(bytes);
}

/** The pickle of a vector of `length` elements, which are in storage `0`. */
export function vectorPickle(type: "Float" | "Byte", length: number) {
  const text = (value: string) => [0x55, value.length, ...utf8.encode(value)];
  const { buffer } = Int32Array.of(length);
  const whole = [0x4a, ...new Uint8Array(buffer)];
  return Uint8Array.from([
    ...[0x80, 2, ...utf8.encode("ctorch._utils\n_rebuild_tensor_v2\n")],
    ...[0x28, 0x28, ...text("storage")],
    ...utf8.encode(`ctorch\n${type}Storage\n`),
    ...[...text("0"), ...text("cpu"), ...whole, 0x74, 0x51, 0x4b, 0],
    ...[...whole, 0x85, 0x4b, 1, 0x85, 0x74, 0x52, 0x2e],
  ]);
}

/** A checkpoint of f32 tensors, as `torch.save` writes a `state_dict`; the sizes of each are slowest first. */
export function stateDict(
  tensors: Readonly<
    Record<string, { shape: readonly number[]; data: Uint8Array }>
  >,
): Uint8Array {
  const text = (value: string) => {
    const bytes = utf8.encode(value);
    return [
      0x58,
      ...new Uint8Array(Uint32Array.of(bytes.length).buffer),
      ...bytes,
    ];
  };
  const whole = (value: number) => [
    0x4a,
    ...new Uint8Array(Int32Array.of(value).buffer),
  ];
  const tuple = (values: readonly number[]) => [
    0x28,
    ...values.flatMap(whole),
    0x74,
  ];
  const entries = Object.entries(tensors).flatMap(
    ([name, { shape, data }], key) => {
      const strides = shape.map((_, i) =>
        shape.slice(i + 1).reduce((product, side) => product * side, 1)
      );
      return [
        ...text(name),
        ...utf8.encode("ctorch._utils\n_rebuild_tensor_v2\n"),
        ...[0x28, 0x28, ...text("storage")],
        ...utf8.encode("ctorch\nFloatStorage\n"),
        ...[...text(String(key)), ...text("cpu"), ...whole(data.length / 4)],
        ...[
          0x74,
          0x51,
          0x4b,
          0,
          ...tuple(shape),
          ...tuple(strides),
          0x74,
          0x52,
        ],
      ];
    },
  );
  const pickle = Uint8Array.from([0x80, 2, 0x7d, 0x28, ...entries, 0x75, 0x2e]);
  return zipOfAll([
    ["model/data.pkl", pickle, pickle.length],
    ...Object.values(tensors).map(({ data }, key): Member => [
      `model/data/${key}`,
      data,
      data.length,
    ]),
  ]);
}
