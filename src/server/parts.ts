/** The parts of messages, as clients of any dialect send them. */
import { shown } from "../options.ts";
import { missing, RequestError } from "./errors.ts";

/** A part, whose fields are its type's. */
interface Part {
  readonly type: string;
  readonly [field: string]: unknown;
}

/**
 * A field of a part, or of an item, which is a text.
 *
 * @throws {RequestError} 400, where it is none; `path` says where the part stands
 */
export function textFieldOf(
  part: Readonly<Record<string, unknown>>,
  name: string,
  path: string,
): string {
  const value = part[name];
  if (typeof value === "string") return value;
  const param = `${path}.${name}`;
  if (value === undefined) missing(param);
  throw new RequestError(
    400,
    `Cannot use ${param} ${shown(value)}: it is a text`,
    { param },
  );
}

/**
 * Refuses a part that a model of texts cannot read, such as an image.
 *
 * @throws {RequestError} 400
 */
export function refusePart({ type }: Part, param: string): never {
  throw new RequestError(
    400,
    `Cannot read ${param}, which is ${
      shown(type)
    }: the model reads texts alone`,
    { param },
  );
}
