/** Waits so many milliseconds. */
export function delay(ms: number): Promise<void>;
