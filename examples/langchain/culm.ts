/** A model as LangChain has it: a request is a call in this process, and no socket is opened. */
import { ChatOpenAI, type ChatOpenAIFields } from "@langchain/openai";
import type { LanguageModel } from "@culm/culm";
import { createServer, type ServerOptions } from "@culm/culm/server";

/** The model, for chains and agents. It stays open until it is closed itself. */
export function culm(
  model: LanguageModel,
  fields: ChatOpenAIFields = {},
  options: ServerOptions = {},
): ChatOpenAI {
  const server = createServer(model, options);
  return new ChatOpenAI({
    model: "culm",
    apiKey: "none",
    maxRetries: 0,
    ...fields,
    configuration: {
      baseURL: "http://localhost/v1", // of which the path matters alone
      fetch: (url: RequestInfo | URL, init?: RequestInit) =>
        server.fetch(new Request(url, init)),
    },
  });
}
