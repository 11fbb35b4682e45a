/** What a model without a template of chats writes: the text goes on. */
import { refusalOfBody, request } from "../api.js";
import { eventsOf } from "../event_stream.js";

/** The most tokens at once: nothing tells such a model where to end. */
const mostTokens = 256;

/** Goes on from all that was written; gives the same as `answerTo` does. */
export async function* continuationOf(path, { signal }) {
  const body = {
    prompt: textOf(path),
    max_tokens: mostTokens,
    stream: true,
    stream_options: { include_usage: true },
  };
  const response = await request("v1/completions", { body, signal });
  const last = {};
  for await (const { data } of eventsOf(response)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data);
    if (chunk.error) throw refusalOfBody(data, response);
    Object.assign(last, chunk.usage && { usage: chunk.usage });
    Object.assign(last, chunk.timings && { timings: chunk.timings });
    const [choice] = chunk.choices;
    if (choice?.finish_reason) last.finish = choice.finish_reason;
    if (choice?.text) yield { text: choice.text };
  }
  yield last;
}

/** All that was written, as one text. */
function textOf(path) {
  return path.map(({ content }) => content)
    .reduce((text, more) => /\s$/.test(text) ? text + more : `${text} ${more}`);
}
