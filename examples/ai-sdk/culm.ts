/** A model as the AI SDK's functions take it: a request is a call in this process, and no socket is opened. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { LanguageModel } from "@culm/culm";
import { createServer, type ServerOptions } from "@culm/culm/server";

/** The model, for `generateText`, `streamText` and agents. It stays open until it is closed itself. */
export function culm(model: LanguageModel, options: ServerOptions = {}) {
  const server = createServer(model, options);
  const provider = createOpenAICompatible({
    name: "culm",
    baseURL: "http://localhost/v1", // of which the path matters alone
    includeUsage: true,
    supportsStructuredOutputs: true,
    fetch: (url: RequestInfo | URL, init?: RequestInit) =>
      server.fetch(new Request(url, init)),
  });
  return provider("culm");
}
