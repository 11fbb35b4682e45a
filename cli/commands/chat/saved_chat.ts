/**
 * Chats in files: `{ "messages": [{ "role", "content" }] }`, as OpenAI's servers
 * take them.
 *
 * @module
 */
import * as v from "valibot";
import type { ChatMessage } from "../../../gguf.ts";
import { CulmError } from "../../../mod.ts";
import { readText } from "../../input.ts";
import { writeFile } from "../../output_file.ts";

const form = v.object({
  messages: v.array(v.object({
    role: v.picklist(["system", "user", "assistant"]),
    content: v.string(),
  })),
});

/**
 * Writes a chat. `isOwn` says that the file is this chat's, and may be replaced.
 *
 * @throws {CulmError} where it cannot be written, or is there already
 */
export async function saveChat(
  path: string,
  messages: readonly ChatMessage[],
  isOwn: boolean,
): Promise<void> {
  const text = `${JSON.stringify({ messages }, undefined, 2)}\n`;
  const bytes = new TextEncoder().encode(text);
  await writeFile(path, [bytes], { force: isOwn });
}

/**
 * Reads a chat.
 *
 * @throws {CulmError} where it cannot be read, or is none
 */
export async function loadChat(path: string): Promise<ChatMessage[]> {
  const text = await readText(path);
  try {
    return v.parse(form, JSON.parse(text)).messages;
  } catch (error) {
    throw new CulmError(
      `Cannot read ${path} as a chat: ${(error as Error).message}`,
    );
  }
}
