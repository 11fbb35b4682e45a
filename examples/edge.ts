/**
 * A server on an edge: a text for each request, streamed. It needs no permission
 * but to listen, no file, no worker and no GPU.
 *
 *     deno serve examples/edge.ts
 *     curl -N "http://localhost:8000/?prompt=Once+upon+a+time"
 */
import { load } from "@culm/culm";
import { tinyBamboo } from "@culm/culm/tiny";

// Without threads it computes in slices of time, so that other requests come in between.
const model = await load(tinyBamboo(), { threads: 0, gpu: "off" });

export default {
  fetch({ url }) {
    const { searchParams } = new URL(url);
    const prompt = searchParams.get("prompt") || "Once upon a time";
    async function* text() {
      yield prompt;
      const options = { maxTokens: 200, temperature: 0.7 };
      for await (const { text } of model.generate(prompt, options)) yield text;
    }
    const headers = { "content-type": "text/plain; charset=utf-8" };
    // A reader that goes away ends the text.
    const pieces = ReadableStream.from(text());
    return new Response(pieces.pipeThrough(new TextEncoderStream()), {
      headers,
    });
  },
} satisfies Deno.ServeDefaultExport;
