/** A number of bytes for people: `1.34 MiB` where `binary`, else `1.34 MB`. */
export function format(
  bytes: number,
  options?: { readonly binary?: boolean },
): string;
