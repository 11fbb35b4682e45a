/**
 * Asks for a message, which is edited as it is typed.
 *
 * @module
 */
import { note, screenSize, write } from "../../terminal.ts";
import type { History } from "./history.ts";
import type { Keyboard } from "./keyboard.ts";
import { edit, type EditorState, newMessage } from "./line_editor.ts";
import { type Layout, layOut, visiblePart } from "./line_layout.ts";
import { LineScreen } from "./line_screen.ts";

const clearScreen = "\x1b[H\x1b[2J";

/** The next message, as it was typed; none where the user leaves. */
export async function promptForMessage(
  keyboard: Keyboard,
  history: History,
): Promise<string | undefined> {
  const screen = new LineScreen();
  let state = newMessage(history.messages);
  for (;;) {
    const size = screenSize();
    const layout = layOut(state.text, state.cursor, size.columns);
    await write(screen.draw(visiblePart(layout, size.rows)));
    const key = await keyboard.next();
    // Not every system says when it changes (Windows).
    const { columns } = screenSize();
    if (columns !== size.columns) {
      const column = screen.isBeyond(columns)
        ? await keyboard.cursorColumn()
        : undefined;
      screen.resize(columns, column);
    }
    if (key === "resized") continue;
    if (key === "continued") {
      screen.leave();
      continue;
    }
    state = edit(state, key ?? "end-of-input");
    switch (key === undefined ? "leave" : state.asks) {
      case "submit":
        await write(screen.finish(layoutOf(state)));
        return state.text;
      case "interrupt":
        await write(screen.finish(layoutOf(state)));
        note("Ctrl-D or /exit ends the chat.");
        break;
      case "leave":
        await write(screen.finish(layoutOf(state)));
        return undefined;
      case "redraw":
        await write(clearScreen);
        screen.leave();
    }
  }
}

function layoutOf({ text, cursor }: EditorState): Layout {
  return layOut(text, cursor, screenSize().columns);
}
