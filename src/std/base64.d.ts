/** Bytes as base64. */
export function encodeBase64(data: Uint8Array | ArrayBuffer | string): string;
