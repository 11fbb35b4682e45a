/**
 * A custom section of an otherwise empty WebAssembly module: the one way to
 * ship bytes that a program can import with no permission and no flag.
 *
 * @module
 */

/** Magic `\0asm` and version 1: a whole, empty module. */
const EMPTY_MODULE = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const CUSTOM_SECTION = 0;

/** An unsigned number as LEB128, the way WebAssembly writes lengths. */
export function leb128(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value;;) {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    if (rest === 0) return [...bytes, low];
    bytes.push(low | 128);
  }
}

/** The module that holds `payload` in the custom section `name`. */
export function wasmWithSection(
  name: string,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const nameBytes = new TextEncoder().encode(name);
  const nameField = [...leb128(nameBytes.length), ...nameBytes];
  const head = [
    ...EMPTY_MODULE,
    CUSTOM_SECTION,
    ...leb128(nameField.length + payload.length),
    ...nameField,
  ];
  const module = new Uint8Array(head.length + payload.length);
  module.set(head);
  module.set(payload, head.length);
  return module;
}
