/** Text in bold, where colours are not unwanted. */
export function bold(text: string): string;
