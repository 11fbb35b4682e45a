/** Server-sent events of a response, as they come (WHATWG HTML, 9.2.6). */

/** Gives each event as `{ event, data }`; comments are left out. */
export async function* eventsOf(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const event = eventOf(block);
        if (event.data !== undefined) yield event;
      }
    }
  } finally {
    // What is left is not wanted; the server stops its work.
    reader.cancel().catch(() => {});
  }
}

function eventOf(block) {
  const found = {};
  for (const line of block.split(/\r?\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") found.event = value;
    else if (field === "data") {
      found.data = found.data === undefined ? value : `${found.data}\n${value}`;
    }
  }
  return found;
}
