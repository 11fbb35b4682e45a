/** Where messages are written. */
import { button, byId, notice } from "./dom.js";

/** Lines that the box grows to. */
const mostLines = 10;

/** Connects the box, its buttons and its files, if it takes any, with a conversation. */
export function startComposer(conversation, attachments) {
  const prompt = byId("prompt"), form = byId("composer");
  const grow = () => {
    prompt.style.height = "auto";
    const line = parseFloat(getComputedStyle(prompt).lineHeight);
    const height = Math.min(prompt.scrollHeight, mostLines * line);
    prompt.style.height = `${height + 2}px`;
  };
  const send = () => {
    const text = prompt.value, files = attachments?.files ?? [];
    if (conversation.isRunning) return;
    if (text.trim() === "" && files.length === 0) return prompt.focus();
    prompt.value = "";
    if (attachments) attachments.files = [];
    grow();
    conversation.send(text, files);
    prompt.focus();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  prompt.addEventListener("input", grow);
  // The address is the chat's.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    prompt.focus();
  });
  prompt.addEventListener("keydown", (event) => {
    const { key, shiftKey, isComposing } = event;
    if (key !== "Enter" || shiftKey || isComposing) return;
    event.preventDefault();
    send();
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && !document.querySelector("dialog")) {
      conversation.stop();
    }
  });
  byId("stop").addEventListener("click", () => conversation.stop());
  if (attachments) takeFiles(attachments);
  conversation.addEventListener("running", () => {
    byId("stop").hidden = !conversation.isRunning;
    byId("send").hidden = conversation.isRunning;
  });
  conversation.addEventListener(
    "unkept",
    () =>
      notice("The browser keeps no more: export what you need.", {
        kind: "store",
      }),
  );
}

/** Attaches files that are picked, or dropped on the box. */
function takeFiles(attachments) {
  const form = byId("composer");
  byId("attach").addEventListener("click", () => byId("attach-file").click());
  byId("attach-file").addEventListener("change", async ({ target }) => {
    await attachments.add(target.files);
    target.value = "";
    byId("prompt").focus();
  });
  form.addEventListener("dragover", (event) => event.preventDefault());
  form.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length === 0) return;
    event.preventDefault();
    attachments.add(event.dataTransfer.files);
  });
}

/** Says whether the server is there. */
export function showConnection(connection) {
  const { state, before } = connection;
  const again = button("Try now", () => connection.check());
  if (state === "lost") {
    notice("The server does not answer. Trying again…", {
      kind: "connection",
      actions: [again],
    });
  } else if (state === "loading") {
    notice("The server is loading its model…", { kind: "connection" });
  } else {
    notice("", { kind: "connection" });
    if (before === "lost") {
      byId("status").textContent = "The server is there again";
    }
  }
}
