/** Names and times of what is kept. */

/** A new id. `crypto.randomUUID` is not there where the page does not come by HTTPS or from this machine. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

let last = 0;

/** The time in ms since 1970, later than any that was given before. */
export function newTime() {
  return last = Math.max(Date.now(), last + 1);
}
