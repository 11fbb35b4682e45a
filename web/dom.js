/** Elements, made and found. Texts become text nodes: nothing here reads HTML. */

/** The element of the page with an id. */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * Makes an element. Attributes that are functions are listeners (`onclick`),
 * `true` is an empty attribute, and `false`, `null` and `undefined` are none.
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice("on".length), value);
    } else if (value !== undefined && value !== null && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** Makes a button that is labelled by its text, or by `label` where that says more. */
export function button(text, onclick, { label, ...attributes } = {}) {
  return make(
    "button",
    { type: "button", "aria-label": label, onclick, ...attributes },
    text,
  );
}

/** Makes a dialog, which is removed when it closes; gives what it was closed with. */
export function ask(heading, content, { action, isDanger = false, onsubmit }) {
  const { promise, resolve } = Promise.withResolvers();
  const form = make(
    "form",
    { method: "dialog" },
    make("h2", { id: "dialog-heading" }, heading),
    ...content,
    make(
      "div",
      { class: "row end" },
      button("Cancel", () => dialog.close()),
      make(
        "button",
        { type: "submit", class: isDanger ? "danger" : "primary" },
        action,
      ),
    ),
  );
  const dialog = make("dialog", { "aria-labelledby": "dialog-heading" }, form);
  let given;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    given = onsubmit ? onsubmit() : true;
    if (given !== undefined) dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(given);
  });
  document.body.append(dialog);
  dialog.showModal();
  return promise;
}

/** Tells people who do not see the page. */
export function say(text) {
  const status = byId("status");
  status.textContent = "";
  status.append(text);
}

/** Shows a text until it is closed, or another of its kind takes its place; none where it is empty. */
export function notice(text, { kind = "general", actions = [] } = {}) {
  const notices = byId("notices");
  const old = notices.querySelector(`[data-kind="${kind}"]`);
  if (old?.dataset.text === text) return;
  old?.remove();
  if (text === "") return;
  const close = button("Close", () => shown.remove(), {
    label: "Close this note",
  });
  const shown = make(
    "div",
    { class: "notice", "data-kind": kind, "data-text": text },
    make("p", {}, text),
    ...actions,
    close,
  );
  notices.append(shown);
}
