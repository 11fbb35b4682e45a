/** The bytes of all buffers, one behind the other. */
export function concat(buffers: readonly Uint8Array[]): Uint8Array<ArrayBuffer>;
