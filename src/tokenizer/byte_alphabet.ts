/**
 * GPT-2 writes each byte as one printable character: bytes that are printable
 * in Latin-1 as themselves, the others as U+0100 and up, in order.
 */
const characters: readonly string[] = makeCharacters();
const bytes: ReadonlyMap<string, number> = new Map(
  characters.map((character, byte) => [character, byte]),
);

function makeCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) ||
      (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    return String.fromCharCode(isPrintable ? byte : next++);
  });
}

const utf8 = new TextEncoder();

/** Writes the UTF-8 bytes of a text in GPT-2's alphabet: one UTF-16 unit a byte. */
export function toByteAlphabet(text: string): string {
  let written = "";
  for (const byte of utf8.encode(text)) written += characters[byte];
  return written;
}

/** The bytes that a token in GPT-2's alphabet stands for; undefined where it is not in that alphabet. */
export function fromByteAlphabet(written: string): Uint8Array | undefined {
  const result = new Uint8Array(written.length);
  for (let i = 0; i < written.length; i++) {
    const byte = bytes.get(written[i]);
    if (byte === undefined) return undefined;
    result[i] = byte;
  }
  return result;
}

/** The byte that one character of GPT-2's alphabet stands for. */
export function byteOf(character: string): number {
  return bytes.get(character)!;
}
