/** An id such as `chatcmpl-3f2a…`. */
export function newId(prefix: string): string {
  return prefix + crypto.randomUUID().replaceAll("-", "");
}
