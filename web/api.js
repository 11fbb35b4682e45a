/** Requests to the server that the page comes from, or to an engine in its place. */
import { ask, make } from "./dom.js";

/** The server answers, and refuses. */
export class Refusal extends Error {
  constructor(message, { status, param, retryAfter }) {
    super(message);
    this.name = "Refusal";
    this.status = status;
    this.param = param;
    this.retryAfter = retryAfter;
  }
}

/** The server does not answer, or breaks off. */
export class Lost extends Error {
  constructor(options) {
    super("The server does not answer", options);
    this.name = "Lost";
  }
}

/** What answers: the server, by a path from where the page lies. */
let answering = (path, init) => fetch(new URL(path, document.baseURI), init);

/** Has something else answer from now on, as `fetch` does, by a path without a slash before it. */
export function askThrough(answers) {
  answering = answers;
}

const keyName = "culm-api-key";
/** The dialog that asks for a key, as long as it is open: requests wait together. */
let asking;

/**
 * Asks the server; where it wants a key, the user for that. The key is kept as
 * long as the tab is open.
 *
 * @throws {Refusal} for answers that are errors
 * @throws {Lost} where there is none
 */
export async function request(path, { body, signal } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(keyName);
    const response = await send(path, { body, signal, key });
    if (response.ok) return response;
    if (response.status !== 401) throw await refusalOf(response);
    if (sessionStorage.getItem(keyName) !== key) continue;
    asking ??= askForKey(key !== null).finally(() => asking = undefined);
    if (!await asking) throw await refusalOf(response);
  }
}

async function send(path, { body, signal, key }) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key !== null) headers.authorization = `Bearer ${key}`;
  try {
    return await answering(path, {
      method: body === undefined ? "GET" : "POST",
      body: body === undefined ? undefined : JSON.stringify(body),
      headers,
      signal,
    });
  } catch (cause) {
    signal?.throwIfAborted();
    // What fetch says of a server that is not there.
    throw cause instanceof TypeError ? new Lost({ cause }) : cause;
  }
}

async function refusalOf(response) {
  const text = await response.text().catch(() => "");
  return refusalOfBody(text, response);
}

/** A refusal, from the body of an error: OpenAI's form, or any other. */
export function refusalOfBody(text, { status, headers }) {
  const retryAfter = Number(headers?.get("retry-after") ?? NaN);
  let error;
  try {
    ({ error } = JSON.parse(text));
  } catch {
    // A proxy's page, for one.
  }
  return new Refusal(error?.message ?? `The server answers ${status}`, {
    status: error?.code ?? status,
    param: error?.param ?? undefined,
    retryAfter,
  });
}

async function askForKey(isWrong) {
  const input = make("input", {
    type: "password",
    id: "api-key",
    autocomplete: "off",
    required: true,
  });
  const key = await ask(
    isWrong ? "The server does not know this key" : "The server wants a key",
    [
      make("label", { for: "api-key" }, "API key"),
      input,
      make("p", { class: "hint" }, "It is kept until this tab is closed."),
    ],
    { action: "Use it", onsubmit: () => input.value.trim() || undefined },
  );
  if (key !== undefined) sessionStorage.setItem(keyName, key);
  return key !== undefined;
}
