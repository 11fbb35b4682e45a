/**
 * The process in which Python runs, without a permission: a function whose text
 * is started there. Programs come in, each with its length in 4 bytes before it.
 *
 * Python is a WebAssembly module, so it can do what its imports do and nothing
 * else. Once it is up, most of these are taken away: of the system's calls those
 * are left that read the clock and the files of its own library, which lie in
 * memory; all others give EPERM. What reaches JavaScript ends the program. What a
 * program leaves in memory is gone before the next one.
 */

/** What is written: a byte for what came of each program. The first says that Python is up. */
export const answers = {
  /** It ended by an exception */
  failed: 0,
  /** It ran to its end */
  passed: 1,
  /** It failed, and the process is of no use any more */
  spent: 2,
} as const;

/** npm's, of which the process fetches what is missing. */
export const pyodide = "npm:pyodide@314.0.7";

/**
 * The text of the process. What it imports is named in this text alone, so that
 * nobody fetches it who does not run Python. Its first import takes Deno away
 * before pyodide looks for it: pyodide takes the process for a browser's worker
 * then, which has no files. A terminal's Ctrl-C reaches this process too, which
 * leaves it to the one that started it: a program has not failed by it.
 */
export function pythonProcess(memoryLimit: number): string {
  const before = `
export const { stdin, stdout, exit } = Deno;
Deno.addSignalListener("SIGINT", () => {});
delete globalThis.Deno;
delete globalThis.process;
globalThis.WorkerGlobalScope = globalThis.constructor;`;
  return `
import * as deno from "data:text/javascript,${encodeURIComponent(before)}";
import { loadPyodide } from "${pyodide}";
import createPyodideModule from "${pyodide}/pyodide.asm.mjs";
import source machine from "${pyodide}/pyodide.asm.wasm";
import library from "${pyodide}/python_stdlib.zip" with { type: "bytes" };
import lockFileContents from "${pyodide}/pyodide-lock.json" with { type: "json" };
const pyodide = { loadPyodide, createPyodideModule, machine, library, lockFileContents };
await (${runPython})(deno, pyodide, ${
    JSON.stringify(answers)
  }, ${memoryLimit});`;
}

/** What is used of Deno. */
type Streams = Pick<typeof Deno, "stdin" | "stdout" | "exit">;

/** What is used of pyodide. */
interface Pyodide {
  loadPyodide(options: object): Promise<{
    readonly FS: {
      readonly streams: { readonly fd: number }[];
      close(stream: { readonly fd: number }): void;
    };
  }>;
  readonly createPyodideModule: unknown;
  readonly machine: WebAssembly.Module;
  /** Python's own, a zip */
  readonly library: Uint8Array<ArrayBuffer>;
  /** Which packages there are, none of which is loaded */
  readonly lockFileContents: unknown;
}

/** What of Python's exports is used; pointers are numbers. */
interface PythonExports {
  readonly memory: WebAssembly.Memory;
  malloc(bytes: number): number;
  /** Runs a program, which ends in a 0, as `__main__`: 0 where it reached its end, -1 after an exception. */
  PyRun_SimpleStringFlags(program: number, flags: number): number;
  emscripten_stack_get_current(): number;
  _emscripten_stack_restore(pointer: number): void;
}

/** Runs in the process, with nothing of this module but what it is given. */
function runPython(
  { stdin, stdout, exit }: Streams,
  pyodide: Pyodide,
  { failed, passed, spent }: typeof answers,
  memoryLimit: number,
): Promise<void> {
  type HostCall = (...args: unknown[]) => unknown;

  /** What Python may go on to call: its own control flow, the clock, its memory, and reading. */
  const harmless = new Set([
    "_PyEM_TrampolineCall_JS",
    "_Py_CheckEmscriptenSignals_Helper",
    "_gmtime_js",
    "_localtime_js",
    "_mktime_js",
    "_timegm_js",
    "_tzset_js",
    "__syscall_faccessat",
    "__syscall_fcntl64",
    "__syscall_fstat64",
    "__syscall_getcwd",
    "__syscall_getdents64",
    "__syscall_getuid32_js",
    "__syscall_ioctl",
    "__syscall_lstat64",
    "__syscall_newfstatat",
    "__syscall_readlinkat",
    "__syscall_stat64",
    "clock_res_get",
    "clock_time_get",
    "emscripten_date_now",
    "emscripten_get_heap_max",
    "emscripten_get_now",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_pread",
    "fd_read",
    "fd_seek",
    "random_get",
    "throw_no_gil",
  ]);
  /** Both WASI's and, negated, the system calls' word for "not permitted". */
  const notPermitted = 63;
  /** Of the flags of open: for writing, creating and emptying. */
  const writing = 0o1 | 0o2 | 0o100 | 0o1000;

  /** What ends a program that calls what is not there for it. */
  const barred = new Error("Python called what it may not");

  let isSealed = false, exports: PythonExports;

  /** What stands in the place of one of Python's imports. */
  function guarded(name: string, call: HostCall) {
    switch (name) {
      case "emscripten_resize_heap":
        return (bytes: number) => bytes > memoryLimit ? 0 : call(bytes);
      case "__syscall_openat":
        return (...args: unknown[]) =>
          isSealed && Number(args[2]) & writing ? -notPermitted : call(...args);
      case "fd_write":
        return (...args: number[]) => isSealed ? discard(args) : call(...args);
    }
    if (name.startsWith("invoke_") || harmless.has(name)) return call;
    const isWasi = name.startsWith("fd_");
    return (...args: unknown[]) => {
      if (!isSealed) return call(...args);
      if (name.startsWith("__syscall_")) return -notPermitted;
      if (isWasi) return notPermitted;
      throw barred;
    };
  }

  /** Takes what is printed, and forgets it. */
  function discard([file, vectors, count, written]: number[]): number {
    if (file !== 1 && file !== 2) return notPermitted;
    const view = new DataView(exports.memory.buffer);
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      bytes += view.getUint32(vectors + 8 * i + 4, true);
    }
    view.setUint32(written, bytes, true);
    return 0;
  }

  /** Takes away what only pyodide's users need, so that it is not there, rather than deadly. */
  const leaveBare = `
import gc, sys
sys.meta_path[:] = [each for each in sys.meta_path if "_pyodide" not in type(each).__module__]
for name in list(sys.modules):
    if name.split(".")[0] in ("js", "pyodide", "pyodide_js", "_pyodide", "_pyodide_core"):
        del sys.modules[name]
sys.excepthook = sys.__excepthook__
del name
gc.collect()
gc.freeze()
`;

  /** The next of what comes in; ends the process where nothing does. */
  function next(): Uint8Array<ArrayBuffer> {
    const length = new DataView(read(4).buffer).getUint32(0, true);
    return read(length);
  }

  function read(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const count = stdin.readSync(bytes.subarray(at));
      if (count === null) return exit();
      at += count;
    }
    return bytes;
  }

  async function start(): Promise<void> {
    const { loadPyodide, machine, library, ...others } = pyodide;
    const { instantiate } = WebAssembly;
    WebAssembly.instantiateStreaming = async (_, imports) => {
      for (const module of Object.values(imports!)) {
        for (const [name, call] of Object.entries(module)) {
          if (typeof call !== "function") continue;
          // Emscripten keeps a function's signature on it.
          module[name] = Object.assign(
            guarded(name, call as HostCall),
            call,
          );
        }
      }
      const instance = await instantiate(machine, imports);
      exports = instance.exports as unknown as PythonExports;
      return { instance, module: machine };
    };
    globalThis.fetch = (url) =>
      Promise.resolve(
        new Response(String(url).endsWith(".zip") ? library : null),
      );
    const { FS } = await loadPyodide({
      ...others,
      indexURL: location.href,
      env: { PYTHONHASHSEED: "0" },
      stdin: () => null,
      stdout: () => {},
      stderr: () => {},
    });
    runs(leaveBare);
    const memory = new Uint8Array(exports.memory.buffer).slice();
    const stack = exports.emscripten_stack_get_current();
    const files = FS.streams.filter(Boolean);
    isSealed = true;

    for (let answer: number = passed;;) {
      stdout.writeSync(Uint8Array.of(answer));
      const program = new TextDecoder().decode(next());
      try {
        answer = runs(program) ? passed : failed;
      } catch (error) {
        // Beside this one there are those of V8: too deep, or out of its memory.
        answer = error === barred ? failed : spent;
      }
      const after = new Uint8Array(exports.memory.buffer);
      if (after.length > memory.length && answer === failed) answer = spent;
      after.fill(0, memory.length);
      after.set(memory);
      exports._emscripten_stack_restore(stack);
      for (const stream of FS.streams.filter(Boolean)) {
        if (!files.includes(stream)) FS.close(stream);
      }
    }
  }

  /** Whether a program runs to its end. */
  function runs(program: string): boolean {
    const bytes = new TextEncoder().encode(program + "\0");
    const pointer = exports.malloc(bytes.length);
    if (pointer === 0) return false;
    new Uint8Array(exports.memory.buffer).set(bytes, pointer);
    return exports.PyRun_SimpleStringFlags(pointer, 0) === 0;
  }

  return start();
}
