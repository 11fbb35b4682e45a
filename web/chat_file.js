/** Chats as a file: what is exported, and what is read of a file that anybody may have made. */
import { newId, newTime } from "./ids.js";
import { checkedSettings } from "./settings.js";

/** The longest file that is read, in bytes. */
export const importLimit = 32 * 1024 * 1024;

const kind = "culm-chats";

/** A file with chats, each with its messages. */
export function chatFile(chats) {
  return new Blob([JSON.stringify({ kind, version: 1, chats }, null, 2)], {
    type: "application/json",
  });
}

/** Offers a file to the user. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = `${
    name.replaceAll(/[^\p{L}\p{N} ._-]/gu, "_").slice(0, 80)
  }.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * The chats of a file, under ids of their own.
 *
 * @throws {Error} that says why it is none
 */
export function readChatFile(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("it is no JSON");
  }
  if (file?.kind !== kind || !Array.isArray(file.chats)) {
    throw new Error("no chats of this page are in it");
  }
  return file.chats.map(readChat);
}

function readChat(given) {
  if (typeof given !== "object" || given === null) {
    throw new Error("a chat of it is none");
  }
  const id = newId();
  const list = Array.isArray(given.messages) ? given.messages : [];
  const ids = new Map(list.map((message) => [message?.id, newId()]));
  const done = new Set();
  const messages = [];
  for (const message of list) {
    const { role, content, parent = null } = message ?? {};
    const isRight = ["user", "assistant"].includes(role) &&
      typeof content === "string" && (parent === null || done.has(parent));
    if (!isRight || done.has(message.id)) {
      throw new Error(`message ${messages.length + 1} of a chat is none`);
    }
    done.add(message.id);
    messages.push({
      id: ids.get(message.id),
      chat: id,
      parent: parent === null ? null : ids.get(parent),
      role,
      content,
      reasoning: textOr(message.reasoning, undefined),
      files: filesOf(message.files),
      state: message.state === "done" ? "done" : "stopped",
      isJson: message.isJson === true,
      created: newTime(),
    });
  }
  return {
    chat: {
      id,
      title: textOr(given.title, "Imported chat").slice(0, 200),
      created: newTime(),
      updated: newTime(),
      leaf: ids.get(given.leaf) ?? null,
      settings: checkedSettings(given.settings),
    },
    messages,
  };
}

const textOr = (value, other) => typeof value === "string" ? value : other;

function filesOf(files) {
  if (!Array.isArray(files)) return [];
  return files.filter((file) =>
    typeof file?.name === "string" && typeof file.text === "string"
  ).map(({ name, text }) => ({
    name,
    text,
    size: new TextEncoder().encode(text).length,
  }));
}
