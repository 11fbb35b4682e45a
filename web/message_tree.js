/**
 * The messages of a chat: a tree, in which each edit and each other answer is a
 * branch. What is shown is the way from a root to a leaf.
 */

/** The messages of one chat, and which leaf is shown. */
export class MessageTree {
  #messages;

  /** `messages` have `id`, `parent` (null for the first) and `created`. */
  constructor(messages = [], leaf = null) {
    this.#messages = new Map(messages.map((message) => [message.id, message]));
    this.leaf = this.#messages.has(leaf) ? leaf : this.#latestBelow(null);
  }

  get(id) {
    return this.#messages.get(id);
  }

  get size() {
    return this.#messages.size;
  }

  all() {
    return [...this.#messages.values()];
  }

  /** The messages that are shown, the first one first. */
  path(leaf = this.leaf) {
    const path = [];
    for (
      let message = this.get(leaf);
      message && path.length <= this.size;
      message = this.get(message.parent)
    ) path.push(message);
    return path.reverse();
  }

  /** The messages that follow one, the oldest first. */
  childrenOf(id) {
    return this.all().filter(({ parent }) => parent === id)
      .sort((a, b) => a.created - b.created);
  }

  /** The message and those in whose place it stands, the oldest first. */
  siblingsOf(message) {
    return this.childrenOf(message.parent);
  }

  /** Puts a message behind its parent, and shows it. */
  add(message) {
    this.#messages.set(message.id, message);
    this.leaf = message.id;
  }

  /** Shows the branch that a message is in, down to its latest leaf. */
  show(id) {
    this.leaf = this.#latestBelow(id);
  }

  #latestBelow(id) {
    let leaf = id;
    for (;;) {
      const next = this.childrenOf(leaf).at(-1);
      if (!next) return leaf;
      leaf = next.id;
    }
  }
}
