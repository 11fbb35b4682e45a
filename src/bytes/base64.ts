/** What Node 24 does not have yet, and libraries of types neither. */
interface Native {
  fromBase64?(text: string): Uint8Array<ArrayBuffer>;
}

/** The bytes that `text` stands for in base64. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return (Uint8Array as Native).fromBase64?.(text) ?? fromCharacters(text);
}

function fromCharacters(text: string): Uint8Array<ArrayBuffer> {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}
