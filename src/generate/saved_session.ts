/** Sessions that outlast their program: saved to files, streams or bytes, and restored. */
import * as v from "valibot";
import type { ByteSource } from "../bytes/byte_source.ts";
import { isWebAddress, openSource } from "../bytes/open.ts";
import { abortable, allBytes, writeStream } from "../bytes/stream.ts";
import { writeFile } from "../bytes/write_file.ts";
import type { Engine } from "../engine/engine.ts";
import { checkOptions, checkValue, type OptionsOf } from "../options.ts";
import { textOptions } from "./generate.ts";
import type { PastOwner } from "./past.ts";
import { Session } from "./session.ts";

/** What saving takes. */
const saveOptions = {
  tokens: {
    type: "integer",
    minimum: 0,
    defaultText: "all",
    description: "how many of the session's tokens are saved, the first ones",
  },
  signal: { ...textOptions.signal, description: "gives up" },
} as const;

const { signal } = saveOptions;
const restoreOptions = { signal } as const;

const pastDestination = v.custom<string | URL | WritableStream<Uint8Array>>(
  (value) => {
    if (value instanceof WritableStream) return !value.locked;
    if (value instanceof URL) return value.protocol === "file:";
    return typeof value === "string" && value !== "" && !isWebAddress(value);
  },
  "a path, a URL or a WritableStream (of a local file; not locked)",
);

/** How much is saved. */
export type SaveOptions = OptionsOf<typeof saveOptions>;

/** Whose sessions they are: an engine's, and what tells its model from others, once that is asked for. */
export interface SessionOwner {
  readonly engine: Engine;
  readonly pastOwner: () => Promise<PastOwner>;
}

/** How they are written, which is loaded only where it is wanted. */
const pasts = () => import("./past.ts");

/** As `LanguageModel.save` does. */
export async function saveSession(
  { engine, pastOwner }: SessionOwner,
  session: Session,
  destination: string | URL | WritableStream<Uint8Array> | undefined,
  options: SaveOptions,
): Promise<Uint8Array<ArrayBuffer> | void> {
  const { tokens, signal } = checkOptions("save", saveOptions, options);
  checkValue("session", textOptions.session, session ?? null);
  checkValue("destination", { schema: pastDestination }, destination);
  // As it is now: the session may go on.
  using sequence = session.fork(engine, tokens);
  const owner = await pastOwner();
  const { isPast, writePast } = await pasts();
  const sections = abortable(writePast(owner, sequence), signal);
  if (destination === undefined) {
    return await allBytes(sections);
  }
  if (destination instanceof WritableStream) {
    await writeStream(destination, sections);
  } else await writeFile(destination, sections, isPast);
}

/** As `LanguageModel.restore` does. */
export async function restoreSession(
  { engine, pastOwner }: SessionOwner,
  source: string | URL | Blob | Uint8Array | ByteSource,
  options: OptionsOf<typeof restoreOptions>,
): Promise<Session> {
  const { signal } = checkOptions("restore", restoreOptions, options);
  const opened = await openSource(source, { signal });
  try {
    const { readPast } = await pasts();
    const sequence = await readPast(await pastOwner(), opened, signal);
    return new Session(engine, sequence);
  } finally {
    if (opened !== source) await opened.close();
  }
}
