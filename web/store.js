/** Chats in the browser: IndexedDB, or memory alone where the browser keeps nothing. */

const name = "culm", version = 1;

/** Opens the store. `isKept` says whether what is put there outlasts the tab. */
export async function openStore() {
  try {
    return new Kept(await open());
  } catch {
    return new Passing();
  }
}

function open() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name, version);
    opening.onupgradeneeded = () => {
      const { result: database } = opening;
      database.createObjectStore("chats", { keyPath: "id" });
      const messages = database.createObjectStore("messages", {
        keyPath: "id",
      });
      messages.createIndex("chat", "chat");
    };
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
    opening.onblocked = () => reject(new Error("an older page is open"));
  });
}

const valueOf = (asked) =>
  new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });

/** In IndexedDB: chats without their messages, and messages by chat, so that an answer is kept while it is written. */
class Kept {
  isKept = true;
  #database;

  constructor(database) {
    this.#database = database;
    // Another tab has a newer page.
    database.onversionchange = () => database.close();
  }

  chats() {
    return valueOf(this.#read("chats").getAll());
  }

  messagesOf(chat) {
    return valueOf(this.#read("messages").index("chat").getAll(chat));
  }

  /** Puts chats and messages, all or none. */
  put({ chats = [], messages = [] }) {
    return this.#change((transaction) => {
      for (const each of chats) transaction.objectStore("chats").put(each);
      for (const each of messages) {
        transaction.objectStore("messages").put(each);
      }
    });
  }

  /** Deletes a chat and its messages. */
  delete(chat) {
    return this.#change((transaction) => {
      transaction.objectStore("chats").delete(chat);
      const messages = transaction.objectStore("messages");
      const asked = messages.index("chat").getAllKeys(chat);
      asked.onsuccess = () => {
        for (const key of asked.result) messages.delete(key);
      };
    });
  }

  #read(store) {
    return this.#database.transaction(store).objectStore(store);
  }

  #change(act) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(
        ["chats", "messages"],
        "readwrite",
      );
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      act(transaction);
    });
  }
}

/** In memory. */
export class Passing {
  isKept = false;
  #chats = new Map();
  #messages = new Map();

  chats() {
    return Promise.resolve([...this.#chats.values()]);
  }

  messagesOf(chat) {
    const all = [...this.#messages.values()];
    return Promise.resolve(all.filter((message) => message.chat === chat));
  }

  put({ chats = [], messages = [] }) {
    for (const each of chats) this.#chats.set(each.id, structuredClone(each));
    for (const each of messages) {
      this.#messages.set(each.id, structuredClone(each));
    }
    return Promise.resolve();
  }

  delete(chat) {
    this.#chats.delete(chat);
    for (const [id, message] of this.#messages) {
      if (message.chat === chat) this.#messages.delete(id);
    }
    return Promise.resolve();
  }
}
