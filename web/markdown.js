/**
 * Markdown as elements. What a model writes is hostile: nothing of it becomes
 * HTML; tags are shown as they are, links lead to the web alone, and images are
 * links, so that looking at an answer asks nobody for anything.
 */
import { lexer } from "./marked.js";
import { button, make, say } from "./dom.js";

/** What each block was made of, to be kept as long as it stays the same. */
const sources = new WeakMap();

/** Writes a text into an element. Blocks that are the same as before stay: a text grows while it is read. */
export function renderMarkdown(element, text) {
  const blocks = lexer(text, { gfm: true, breaks: true })
    .filter(({ type }) => type !== "space" && type !== "def");
  blocks.forEach((token, i) => {
    const old = element.children[i];
    if (old && sources.get(old) === token.raw) return;
    const block = blockOf(token);
    sources.set(block, token.raw);
    if (old) old.replaceWith(block);
    else element.append(block);
  });
  while (element.children.length > blocks.length) element.lastChild.remove();
}

/** Headings of an answer lie below those of the page. */
const headingBase = 3, headingLimit = 6;

function blockOf(token) {
  const { type } = token;
  switch (type) {
    case "heading": {
      const level = Math.min(headingLimit, headingBase + token.depth);
      return make(`h${level}`, {}, ...spansOf(token.tokens));
    }
    case "paragraph":
      return make("p", {}, ...spansOf(token.tokens));
    case "code":
      return codeBlock(token.text, token.lang);
    case "blockquote":
      return make(
        "blockquote",
        {},
        ...token.tokens.filter(isShown).map(blockOf),
      );
    case "list":
      return listOf(token);
    case "table":
      return tableOf(token);
    case "hr":
      return make("hr");
    default:
      return make(
        "p",
        {},
        ...(token.tokens ? spansOf(token.tokens) : [
          token.text ?? token.raw,
        ]),
      );
  }
}

const isShown = ({ type }) => type !== "space" && type !== "def";

function listOf({ ordered, start, items, loose }) {
  const list = make(ordered ? "ol" : "ul", {
    start: ordered && start !== 1 ? start : undefined,
  });
  for (const item of items) {
    const children = item.tokens.filter(isShown).flatMap((token) =>
      token.type === "text" && !loose
        ? spansOf(token.tokens ?? [token])
        : token.type === "checkbox"
        ? spansOf([token])
        : [blockOf(token)]
    );
    list.append(make("li", {}, ...children));
  }
  return list;
}

function tableOf({ header, rows }) {
  const cellOf = (tag) => ({ tokens, align }) =>
    make(
      tag,
      {
        class: align ? `align-${align}` : undefined,
        scope: tag === "th" && "col",
      },
      ...spansOf(tokens),
    );
  const rowOf = (tag, cells) => make("tr", {}, ...cells.map(cellOf(tag)));
  const table = make(
    "table",
    {},
    make("thead", {}, rowOf("th", header)),
    make("tbody", {}, ...rows.map((cells) => rowOf("td", cells))),
  );
  return make(
    "div",
    { class: "scroller", role: "group", "aria-label": "Table", tabindex: 0 },
    table,
  );
}

/** A block of code with a button that copies it. */
export function codeBlock(text, language = "") {
  const [name] = language.split(/\s/);
  return make(
    "figure",
    { class: "code" },
    make(
      "figcaption",
      {},
      make("span", {}, name || "code"),
      button("Copy", () => copy(text, "Code"), { label: "Copy this code" }),
    ),
    make(
      "pre",
      { tabindex: 0, role: "group", "aria-label": `Code, ${name || "text"}` },
      make("code", {}, text),
    ),
  );
}

function spansOf(tokens) {
  return tokens.map(spanOf);
}

function spanOf(token) {
  const inner = () => spansOf(token.tokens);
  switch (token.type) {
    case "strong":
      return make("strong", {}, ...inner());
    case "em":
      return make("em", {}, ...inner());
    case "del":
      return make("del", {}, ...inner());
    case "codespan":
      return make("code", {}, token.text);
    case "br":
      return make("br");
    case "checkbox":
      return token.checked ? "☑ " : "☐ ";
    case "link":
      return linkOf(token.href, inner());
    case "image":
      return linkOf(token.href, [
        `image: ${decoded(token.text) || token.href}`,
      ]);
    case "text":
      return token.tokens ? make("span", {}, ...inner()) : decoded(token.text);
    case "escape":
      return token.text;
    default:
      return token.raw;
  }
}

/** A link to the web; other addresses are shown, and lead nowhere. */
function linkOf(href, children) {
  const url = URL.canParse(href) ? new URL(href) : undefined;
  if (!url || !["http:", "https:", "mailto:"].includes(url.protocol)) {
    return make("span", { title: href }, ...children);
  }
  return make(
    "a",
    {
      href: url.href,
      target: "_blank",
      rel: "noopener noreferrer nofollow",
      title: url.href,
    },
    ...children,
  );
}

/** A text with its character references (`&amp;`) read. */
function decoded(text) {
  return text.replaceAll(
    /&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z\d]{1,31});/gi,
    (reference) =>
      new DOMParser().parseFromString(reference, "text/html").body.textContent,
  );
}

/** Puts a text on the clipboard. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Not there where the page does not come by HTTPS or from this machine.
    const area = make("textarea", { class: "unseen", "aria-hidden": "true" });
    area.value = text;
    const { activeElement } = document;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    activeElement?.focus();
  }
  say(`${what} copied`);
}
