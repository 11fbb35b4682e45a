/** An answer of the model, as it is written. */
import { Lost, refusalOfBody, request } from "./api.js";
import { contentWith } from "./attachments.js";
import { eventsOf } from "./event_stream.js";
import { fieldsOf } from "./settings.js";

/**
 * Asks for an answer to the messages of a path. Gives `{ text }` and
 * `{ reasoning }` as they come, then `{ finish, usage, timings }`.
 *
 * @throws {Refusal} where the server does not answer that
 * @throws {Lost} where it is not there, or breaks off
 */
export async function* answerTo(path, { settings, signal }) {
  const body = {
    messages: messagesOf(path, settings.system),
    ...fieldsOf(settings),
    stream: true,
    stream_options: { include_usage: true },
  };
  const response = await request("v1/chat/completions", { body, signal });
  const last = {};
  try {
    for await (const { data } of eventsOf(response)) {
      if (data === "[DONE]") {
        yield last;
        return;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) throw refusalOfBody(data, response);
      if (chunk.usage) last.usage = chunk.usage;
      if (chunk.timings) last.timings = chunk.timings;
      const [choice] = chunk.choices;
      if (!choice) continue;
      if (choice.finish_reason) last.finish = choice.finish_reason;
      const { content, reasoning_content } = choice.delta;
      if (reasoning_content) yield { reasoning: reasoning_content };
      if (content) yield { text: content };
    }
  } catch (error) {
    signal.throwIfAborted();
    // What reading fails with says no more than that.
    throw error instanceof TypeError ? new Lost({ cause: error }) : error;
  }
  throw new Lost();
}

function messagesOf(path, system) {
  const messages = path.map(({ role, content, files }) => ({
    role,
    content: contentWith(files, content),
  }));
  return system.trim() === ""
    ? messages
    : [{ role: "system", content: system }, ...messages];
}
