/**
 * What a worker and the one who started it post to one another: requests, an
 * answer to each, and events between them.
 *
 * @module
 */
import { type CulmError, errorOfName } from "../errors.ts";

/** What a worker can be: each role is a service of its own. */
export type Role = "place" | "quantiser" | "predictor";

/** Requests one method of a role's service. */
export interface Request {
  readonly id: number;
  readonly role: Role;
  readonly method: string;
  readonly args: readonly unknown[];
}

/** An error without its class. */
export interface ErrorData {
  readonly name: string;
  readonly message: string;
}

/** What a worker posts: the value or the error of a request, or an event that nobody requested. */
export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: ErrorData }
  | { readonly event: unknown };

/** An error as it is posted; structured clones lose its class. */
export function errorData(error: unknown): ErrorData {
  const { name, message } = error as Error;
  return { name, message };
}

/** The error that was posted: of its class where that is culm's, else what `foreign` makes of its message. */
export function errorFrom(
  { name, message }: ErrorData,
  foreign: (message: string) => CulmError,
): CulmError {
  return errorOfName(name, message) ?? foreign(message);
}
