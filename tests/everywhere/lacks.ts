/**
 * What Safari lacks, or does otherwise, of what Chromium has: taken away before a
 * page's scripts run, and before those of its workers. Each function is run in
 * the page as its text says, and knows nothing else of this file.
 */

/** By what is lacking. */
export const lacks: Readonly<Record<string, () => void>> = {
  "relaxed SIMD": () => {
    // A module that has it is none: culm asks whether one is.
    WebAssembly.validate = () => false;
  },
  "memory64": () => {
    WebAssembly.Memory = class extends WebAssembly.Memory {
      constructor(type: WebAssembly.MemoryDescriptor) {
        if ("address" in type) throw new TypeError("There is no memory64");
        super(type);
      }
    };
  },
  "SharedArrayBuffer": () => {
    Reflect.deleteProperty(globalThis, "SharedArrayBuffer");
  },
  "Atomics.waitAsync and pause": () => {
    for (const name of ["waitAsync", "pause"]) {
      Reflect.deleteProperty(Atomics, name);
    }
  },
  "WebGPU": () => {
    Reflect.deleteProperty(Object.getPrototypeOf(navigator), "gpu");
  },
  "storage that is kept for certain": () => {
    navigator.storage.persist = () => Promise.resolve(false);
  },
  "files that are renamed, or written by streams": () => {
    for (const name of ["move", "createWritable"]) {
      Reflect.deleteProperty(FileSystemHandle.prototype, name);
      Reflect.deleteProperty(FileSystemFileHandle.prototype, name);
    }
  },
  "streams that are iterated": () => {
    for (const name of [Symbol.asyncIterator, "values"]) {
      Reflect.deleteProperty(ReadableStream.prototype, name);
    }
    Reflect.deleteProperty(ReadableStream, "from");
  },
  "streams that are transferred": () => {
    for (const { prototype } of [MessagePort, Worker]) {
      const { postMessage } = prototype;
      prototype.postMessage = function (message: unknown, how?: unknown) {
        const list = Array.isArray(how) ? how : [];
        if (list.some((each) => each instanceof ReadableStream)) {
          throw new DOMException("A stream", "DataCloneError");
        }
        return postMessage.call(this, message, how as never);
      };
    }
  },
  "idle callbacks and scheduler": () => {
    for (const name of ["requestIdleCallback", "scheduler"]) {
      Reflect.deleteProperty(globalThis, name);
    }
  },
  "disposable resources": () => {
    // What it has of them cannot be deleted.
    const { Symbol: whole } = globalThis;
    const lacking = (description?: string) => whole(description);
    for (const name of Reflect.ownKeys(whole) as (keyof typeof whole)[]) {
      if (name === "dispose" || name === "asyncDispose") continue;
      const property = Object.getOwnPropertyDescriptor(whole, name)!;
      Object.defineProperty(lacking, name, property);
    }
    Object.assign(globalThis, { Symbol: lacking });
    for (const name of ["DisposableStack", "AsyncDisposableStack"]) {
      Reflect.deleteProperty(globalThis, name);
    }
  },
  "iterator helpers": () => {
    const { prototype } = Iterator;
    for (const name of Reflect.ownKeys(prototype)) {
      if (typeof name === "string") Reflect.deleteProperty(prototype, name);
    }
    Reflect.deleteProperty(globalThis, "Iterator");
  },
  "Promise.try and Array.fromAsync": () => {
    Reflect.deleteProperty(Promise, "try");
    Reflect.deleteProperty(Array, "fromAsync");
  },
  "bytes in base64 and hexadecimal": () => {
    for (const  of of[Uint8Array, Uint8Array.prototype]) {
      for (const name of Reflect.ownKeys(of)) {
        if (/base64|hex/i.test(String(name))) Reflect.deleteProperty(of, name);
      }
    }
  },
  "floats of 16 bits": () => {
    Reflect.deleteProperty(globalThis, "Float16Array");
    Reflect.deleteProperty(Math, "f16round");
    for (const name of ["getFloat16", "setFloat16"]) {
      Reflect.deleteProperty(DataView.prototype, name);
    }
  },
  "what is newer than Safari 17.4": () => {
    for (
      const [of, ...names] of [
        [RegExp, "escape"],
        [Math, "sumPrecise"],
        [Error, "isError"],
        [Map.prototype, "getOrInsert", "getOrInsertComputed"],
        [WeakMap.prototype, "getOrInsert", "getOrInsertComputed"],
        [Response.prototype, "bytes"],
        [Request.prototype, "bytes"],
        [Blob.prototype, "bytes"],
        [URL, "parse"],
      ] as const
    ) {
      for (const name of names) Reflect.deleteProperty(of, name);
    }
  },
};

/** A script that takes these away, also from the workers that are started behind it. */
export function lackingScript(stubs: readonly (() => void)[]): string {
  const steps = stubs.map((stub) => `(${stub})();`).join("\n");
  return `${steps}\n(${inWorkers})(${JSON.stringify(steps)});`;
}

function inWorkers(steps: string): void {
  const urlOf = (text: string) =>
    URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  globalThis.Worker = class extends Worker {
    constructor(url: string | URL, options?: WorkerOptions) {
      const { href } = new URL(url, location.href);
      const imports = [urlOf(steps), href].map((from) => `import "${from}";`);
      super(urlOf(imports.join("\n")), { ...options, type: "module" });
    }
  };
}
