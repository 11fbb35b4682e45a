/** Python programs that mean no good, and must not pass. */

/** Those that end at once: what they want is not there. */
export const refused: Readonly<Record<string, string>> = {
  "a list of 4 GB": "x = [0] * 2**30",
  "a file of the system": "open('/etc/passwd').read()",
  "a file to write": "open('/tmp/x', 'w').write('a')",
  "a folder": "import os\nos.mkdir('/tmp/a')",
  "Python's library, to be deleted":
    "import os, sys\nos.remove([p for p in sys.path if p.endswith('.zip')][0])",
  "a socket that listens":
    "import socket\ns = socket.socket()\ns.bind(('0.0.0.0', 8080))\ns.listen()",
  "the end of the process": "import os\nos._exit(0)",
  "an exit that succeeds": "import sys\nsys.exit(0)",
  "a promise that makes promises":
    "import asyncio\nasync def f():\n  while True:\n    asyncio.ensure_future(f())\n    await asyncio.sleep(0)\nasyncio.run(f())",
  "a success that is forged":
    "import js\njs.postMessage({'passed': True, 'isSpent': False})",
  "JavaScript's fetch": "from js import fetch\nfetch('http://127.0.0.1')",
  "JavaScript's Deno": "from js import Deno\nDeno.exit(0)",
  "JavaScript's evaluation":
    "from pyodide.code import run_js\nrun_js('postMessage({ passed: true })')",
  "JavaScript by what Python keeps":
    "import gc\ngc.unfreeze()\nfor each in gc.get_objects():\n  if 'JsProxy' in str(type(each)):\n    each.constructor.constructor('postMessage({ passed: true })')()\nassert False",
  "another process": "import subprocess\nsubprocess.run(['ls'])",
  "a fork bomb": "import os\nwhile True: os.fork()",
  "threads without end":
    "import threading\ndef f():\n  while True: threading.Thread(target=f).start()\nf()",
  "pipes without end": "import os\nwhile True: os.pipe()",
  "a test that is cut off": "pass\0\nassert False",
  "an exception that nobody sees":
    "import sys\nsys.excepthook = lambda *_: None\nraise ValueError",
  "an assertion that is taken away":
    "import builtins\nbuiltins.AssertionError = lambda *_: None\nassert False",
};

/** Those that the process of Python does not outlive; another one is started. */
export const fatal: Readonly<Record<string, string>> = {
  "memory without end": "x = []\nwhile True: x.append(bytes(2**20))",
  "an endless loop": "while True: pass",
  "an endless loop outside of Python's": "sum(iter(int, 1))",
};

/** More of these, which take their time. */
export const slow: Readonly<Record<string, string>> = {
  "a connection": "import socket\nsocket.create_connection(('127.0.0.1', 80))",
  "a name to look up": "import socket\nsocket.getaddrinfo('localhost', 80)",
  "output without end": "while True: print('x' * 10**6)",
  "errors without end": "import sys\nwhile True: sys.stderr.write('x' * 10**6)",
  "a call of the system": "import os\nassert os.system('ls') == 0",
  "a shell by a pickle":
    "import pickle\nassert pickle.loads(b\"cos\\nsystem\\n(S'ls'\\ntR.\") == 0",
  "calls of C": "import ctypes\nctypes.CDLL(None).exit(0)",
  "memory that is overwritten":
    "import ctypes\nfor i in range(0, 2**27, 4): ctypes.c_int.from_address(i).value = 0",
  "a signal": "import os\nos.kill(os.getpid(), 9)\nassert False",
  "a crash": "import faulthandler\nfaulthandler._sigsegv()\nassert False",
  "a long sleep": "import time\ntime.sleep(10**6)",
  "a pattern that takes for ever":
    "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
  "a large number": "9**(9**9)",
  "depth without end": "x = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
  "callbacks without end":
    "import asyncio\nloop = asyncio.new_event_loop()\nwhile True: loop.call_soon(print)",
};
