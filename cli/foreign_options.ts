/**
 * llama.cpp's options that culm has no use for, or lacks: people type them out
 * of habit, and are told in one line.
 *
 * @module
 */

/** What is said of an option that is not culm's. */
export interface ForeignOption {
  /** Why it changes nothing here */
  readonly note?: string;
  /** What is not there, and what is instead */
  readonly lacks?: string;
  /** What an argument that belongs to it looks like */
  readonly value: RegExp;
}

const none = /(?!)/;
const any = /^/;
const onOff = /^(on|off|auto|0|1)$/;

/** Options that change nothing, by their names. */
const harmless:
  readonly (readonly [names: string, value: RegExp, note: string])[] = [
    [
      "-fa --flash-attn",
      onOff,
      "scores of attention are never stored as a matrix",
    ],
    ["--jinja --no-jinja", none, "chat templates are always Jinja"],
    [
      "--mlock",
      none,
      "weights lie in WASM's memory, which the system may not be told to keep",
    ],
    ["--mmap --no-mmap", none, "files are read, and not mapped"],
    ["-mmp", onOff, "files are read, and not mapped"],
    [
      "-dio --direct-io -ndio --no-direct-io",
      none,
      "files are read through the system's cache",
    ],
    ["-tb --threads-batch", any, "prompts are evaluated by the threads of -t"],
    ["-ub --ubatch-size", any, "a step takes what -b allows at once"],
    ["-lv --verbosity --log-verbosity", any, "there is one level of messages"],
    [
      "-v --verbose --log-verbose --log-disable --log-prefix --log-timestamps --perf --no-perf",
      none,
      "there is one level of messages",
    ],
    [
      "--log-colors -co --color --colors",
      onOff,
      "texts are written as they are",
    ],
    [
      "--warmup --no-warmup",
      none,
      "what is to be measured is measured while loading",
    ],
    [
      "--simple-io --no-repack --repack --no-host --check-tensors",
      none,
      "there is one way here",
    ],
    ["-e --escape", none, "escapes are read unless --no-escape is given"],
    ["--no-context-shift", none, "contexts are never shifted"],
    ["-kvu --kv-unified --swa-full", none, "sequences share one pool of pages"],
    [
      "--numa --prio --poll -C --cpu-mask -Cr --cpu-range --cpu-strict",
      any,
      "the system places threads",
    ],
    ["-fit --fit", onOff, "what does not fit the GPU stays on the CPU"],
    ["--no-mmproj --no-mmproj-auto", none, "texts alone are read"],
    [
      "-cb --cont-batching -nocb --no-cont-batching",
      none,
      "texts join and leave at every step",
    ],
    [
      "--cache-prompt --cache-idle-slots --no-cache-idle-slots",
      none,
      "pasts are kept as long as their pages are not needed",
    ],
    [
      "-cram --cache-ram -ctxcp --ctx-checkpoints --swa-checkpoints --cache-reuse -sps --slot-prompt-similarity -dt --defrag-thold",
      any,
      "pasts are kept as long as their pages are not needed",
    ],
    ["--threads-http", any, "requests are read by one thread"],
    [
      "--embedding --embeddings",
      none,
      "/v1/embeddings is there beside the others",
    ],
    ["--ui --webui", none, "there is a page unless --no-ui is given"],
    ["--ui-config --webui-config", any, "the page has settings of its own"],
    [
      "--prefill-assistant",
      none,
      "a chat whose last message is the assistant's is gone on with",
    ],
    ["-bs --backend-sampling", none, "tokens are chosen on the CPU"],
  ];

/** Options that ask for what is not there. */
const lacking: readonly (readonly [names: string, lacks: string])[] = [
  [
    "-hft --hf-token",
    "others would see it in the list of processes; set HF_TOKEN",
  ],
  ["-dr --docker-repo", "models come from Hugging Face's hub, with -hf"],
  ["-mu --model-url", "-m takes URLs too"],
  [
    "--lora --lora-scaled --control-vector --control-vector-scaled",
    "adapters are not read",
  ],
  [
    "-cd --ctx-size-draft",
    "the draft model has the context that it was made for",
  ],
  [
    "--mirostat --mirostat-lr --mirostat-ent --dynatemp-range --dynatemp-exp --top-nsigma --top-n-sigma --adaptive-target --adaptive-decay",
    "there is no such sampler; --samplers lists those that there are",
  ],
  ["--sampler-seq --sampling-seq", "--samplers takes the names of samplers"],
  [
    "--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale --yarn-orig-ctx --yarn-ext-factor --yarn-attn-factor --yarn-beta-slow --yarn-beta-fast",
    "positions are encoded as the file says",
  ],
  [
    "--override-kv -ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe",
    "a model is what its file says, and --vram-budget, -ngl and --gpu-index say what goes to the GPU",
  ],
  [
    "-dev --device --list-devices -sm --split-mode -ts --tensor-split -mg --main-gpu",
    "one GPU takes part, which the system prefers; --gpu off takes none",
  ],
  [
    "-nkvo --no-kv-offload --no-op-offload",
    "keys and values lie beside the heads that use them; --gpu off keeps all on the CPU",
  ],
  [
    "--prompt-cache-all",
    "culm chat keeps all of a chat; culm generate has it",
  ],
  [
    "--prompt-cache --prompt-cache-ro",
    "culm generate and culm chat keep pasts",
  ],
  [
    "--slot-save-path",
    "no pasts of a server are kept in files; --prompt-cache of culm generate keeps one",
  ],
  [
    "--keep --context-shift",
    "contexts are not shifted: a text ends where its context is full",
  ],
  [
    "-np --parallel --host --port --api-key -a --alias --metrics",
    "there is no server here; culm serve is one",
  ],
  [
    "-mm --mmproj -mmu --mmproj-url --image --audio --media-path",
    "texts alone are read",
  ],
  ["--rerank --reranking", "there is no /v1/rerank; /v1/embeddings compares"],
  [
    "--no-cache-prompt",
    "requests say so, by cache_prompt: false",
  ],
  ["--props", "what a server was started with stays as it is"],
  [
    "--ui-mcp-proxy --webui-mcp-proxy --tools --tools-runtime --mcp-servers-config --mcp-servers-json",
    "the server talks to none but its clients, who call tools themselves",
  ],
  ["--path", "the page is culm's own; --no-ui leaves it out"],
  ["--api-prefix", "paths are as clients expect them; a proxy may prefix them"],
  ["--reuse-port", "a port is one server's"],
  [
    "-gan --grp-attn-n -gaw --grp-attn-w",
    "contexts are not stretched; -c says how long they are",
  ],
  [
    "--spm-infill",
    "what is to be filled in is sent as prefix, suffix, middle",
  ],
  [
    "--no-prefill-assistant",
    "requests say so, by continue_final_message: false",
  ],
  [
    "--skip-chat-parsing",
    "--reasoning-format none leaves reasoning in the text",
  ],
  ["-sp --special", "special tokens are not printed; --logprobs 1 shows them"],
  [
    "-sysf --system-prompt-file",
    '--system-prompt "$(cat FILE)" takes a file\'s text',
  ],
  [
    "--in-prefix --in-suffix --in-prefix-bos",
    "what stands around a turn is its template's, which --chat-template sets",
  ],
  ["-bf --binary-file", "texts are UTF-8; -f takes a file of it"],
  [
    "-rea --reasoning --reasoning-format --chat-template-kwargs",
    "templates are given the messages alone; culm serve has it",
  ],
  [
    "--reasoning-budget",
    "reasoning is not measured; culm serve --reasoning off leaves it out",
  ],
];

const chats =
  "-cnv --conversation -i --interactive -if --interactive-first -mli --multiline-input";
const texts = "-no-cnv --no-conversation -st --single-turn";

const table = new Map<string, ForeignOption>([
  ...harmless.flatMap(([names, value, note]) => named(names, { value, note })),
  ...lacking.flatMap(([names, lacks]) => named(names, { value: none, lacks })),
]);

const inChat = new Map<string, ForeignOption>([
  ...named(chats, { value: none, note: "culm chat always is a conversation" }),
  ...named(texts, {
    value: none,
    lacks:
      "culm generate continues a text; culm chat < FILE takes its turns from a file",
  }),
]);

const elsewhere = new Map<string, ForeignOption>([
  ...named(chats, { value: none, lacks: "culm chat is for conversations" }),
  ...named(texts, {
    value: none,
    note: "one text is continued; culm chat is for conversations",
  }),
]);

function named(
  names: string,
  option: ForeignOption,
): [string, ForeignOption][] {
  return names.split(" ").map((name) => [name, option]);
}

/** What is said of an option of llama.cpp's that a command of culm's does not have; undefined for any other. */
export function foreignOption(
  name: string,
  command: string,
): ForeignOption | undefined {
  const conversation = command === "chat" ? inChat : elsewhere;
  return table.get(name) ?? conversation.get(name);
}
