/** Text in bold, where colours are not unwanted. */
export function bold(text: string): string;
/** Faint text, where colours are not unwanted. */
export function dim(text: string): string;
/** Green text, where colours are not unwanted. */
export function green(text: string): string;
/** Red text, where colours are not unwanted. */
export function red(text: string): string;
