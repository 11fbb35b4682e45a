/**
 * A llama model of a GGUF file as Transformers.js reads one: 4-bit weights in
 * blocks of 32 (q4), with the fused operations of ONNX Runtime, and logits of
 * the last position alone, which is all that decoding needs.
 */
import {
  describeModel,
  type GgufFile,
  openFile,
  readGguf,
} from "../../gguf.ts";
import { dequantise } from "../../src/formats/ggml/dequantise.ts";
import { floatsToHalves } from "../../src/formats/ggml/half.ts";
import {
  type Attributes,
  elementTypes,
  node,
  onnxFile,
  tensor,
  value,
} from "./onnx_file.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Weights that share a scale */
const blockSize = 32;

/** Codes of 4 bits, two a byte, of which 8 stands for 0; and a scale for each block. */
function quantise(
  weights: Float32Array,
): { codes: Bytes; scales: Float32Array<ArrayBuffer> } {
  const codes = new Uint8Array(weights.length / 2);
  const scales = new Float32Array(weights.length / blockSize);
  for (let block = 0; block < scales.length; block++) {
    const values = weights.subarray(block * blockSize, (block + 1) * blockSize);
    let largest = 0;
    for (const each of values) {
      if (Math.abs(each) > Math.abs(largest)) largest = each;
    }
    const scale = scales[block] = largest / -8;
    values.forEach((each, i) => {
      const code = scale ? Math.min(15, Math.round(each / scale) + 8) : 8;
      codes[(block * blockSize + i) >> 1] |= code << 4 * (i % 2);
    });
  }
  return { codes, scales };
}

/** The files of a folder that `from_pretrained` takes, by their paths. */
export async function onnxModel(path: string): Promise<Record<string, Bytes>> {
  const source = await openFile(path);
  const file = await readGguf(source);
  const read = async (name: string) => {
    const { type, shape, offset, byteLength } = file.tensors.get(name)!;
    const bytes = await source.read(offset, byteLength);
    const weights = new Float32Array(shape.reduce((a, b) => a * b));
    dequantise(type, bytes, weights);
    return weights;
  };
  try {
    const config = new TextEncoder().encode(JSON.stringify(configOf(file)));
    return {
      "config.json": config,
      "onnx/model_q4.onnx": await decoder(file, read),
    };
  } finally {
    await source.close();
  }
}

function sizesOf(file: GgufFile) {
  const number = (key: string) =>
    Number(file.metadata.get(`llama.${key}`)!.value);
  const heads = number("attention.head_count");
  const hidden = number("embedding_length");
  return {
    layers: number("block_count"),
    hidden,
    ffn: number("feed_forward_length"),
    heads,
    kvHeads: number("attention.head_count_kv"),
    head: hidden / heads,
    vocab: describeModel(file).vocabSize,
    context: number("context_length"),
    epsilon: number("attention.layer_norm_rms_epsilon"),
    base: number("rope.freq_base"),
  };
}

function configOf(file: GgufFile) {
  const sizes = sizesOf(file);
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    num_hidden_layers: sizes.layers,
    hidden_size: sizes.hidden,
    intermediate_size: sizes.ffn,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    head_dim: sizes.head,
    vocab_size: sizes.vocab,
    max_position_embeddings: sizes.context,
  };
}

async function decoder(
  file: GgufFile,
  read: (name: string) => Promise<Float32Array<ArrayBuffer>>,
): Promise<Bytes> {
  const sizes = sizesOf(file);
  const { hidden, ffn, heads, kvHeads, head, vocab, context, epsilon } = sizes;
  const nodes: Bytes[] = [], tensors: Bytes[] = [];
  const inputs = [
    value("input_ids", "int64", ["batch_size", "tokens"]),
    value("attention_mask", "int64", ["batch_size", "all"]),
  ];
  const outputs = [value("logits", "float32", ["batch_size", 1, vocab])];

  const add = (
    operation: string,
    from: string[],
    to: string | string[],
    attributes?: Attributes,
    domain = "",
  ) => nodes.push(node(operation, from, [to].flat(), attributes, domain));
  const fused = (
    ...[operation, from, to, attributes]: Parameters<typeof add>
  ) => add(operation, from, to, attributes, "com.microsoft");
  const norms = async (name: string) => {
    tensors.push(tensor(name, "float32", [hidden], await read(name)));
    return name;
  };
  /** The product with several matrices of one width, one below the other. */
  const multiply = async (
    from: string,
    to: string,
    width: number,
    ...names: string[]
  ) => {
    const weights = await Promise.all(names.map(read));
    const rows = weights.reduce((sum, { length }) => sum + length, 0) / width;
    const all = new Float32Array(rows * width);
    let at = 0;
    for (const each of weights) {
      all.set(each, at);
      at += each.length;
    }
    const { codes, scales } = quantise(all);
    const blocks = width / blockSize;
    tensors.push(
      tensor(`${to}.codes`, "uint8", [rows, blocks, blockSize / 2], codes),
      tensor(`${to}.scales`, "float32", [rows, blocks], scales),
    );
    fused("MatMulNBits", [from, `${to}.codes`, `${to}.scales`], to, {
      integers: {
        K: width,
        N: rows,
        bits: 4,
        block_size: blockSize,
        accuracy_level: 4,
      },
    });
  };

  const integers = (
    name: string,
    type: "int32" | "int64",
    shape: number[],
    number: number,
  ) => {
    const array = type === "int32"
      ? Int32Array.of(number)
      : BigInt64Array.of(BigInt(number));
    tensors.push(tensor(name, type, shape, array));
  };
  integers("one", "int32", [], 1);
  integers("axis", "int64", [1], 1);
  integers("last", "int64", [1], -1);
  integers("place", "int64", [], 1);

  // How many positions there are, as attention asks for it.
  const int32 = { integers: { to: elementTypes.int32 } };
  add("ReduceSum", ["attention_mask", "axis"], "seen", {
    integers: { keepdims: 0 },
  });
  add("Cast", ["seen"], "seen32", int32);
  add("Sub", ["seen32", "one"], "before");
  add("Shape", ["attention_mask"], "mask_shape");
  add("Gather", ["mask_shape", "place"], "all64", { integers: { axis: 0 } });
  add("Cast", ["all64"], "all", int32);
  const { cosines, sines } = rotation(sizes);
  tensors.push(
    tensor("cosines", "float32", [context, head / 2], cosines),
    tensor("sines", "float32", [context, head / 2], sines),
  );

  const embedding = await read("token_embd.weight");
  const halves = new Uint8Array(2 * embedding.length);
  floatsToHalves(embedding, halves);
  tensors.push(tensor("embedding", "float16", [vocab, hidden], halves));
  add("Gather", ["embedding", "input_ids"], "embedded");
  add("Cast", ["embedded"], "x0", { integers: { to: elementTypes.float32 } });
  const first = await norms("blk.0.attn_norm.weight");
  add("SimplifiedLayerNormalization", ["x0", first], "n0", {
    integers: { axis: 2 },
    floats: { epsilon },
  });
  for (let i = 0; i < sizes.layers; i++) {
    const weight = (name: string) => `blk.${i}.${name}.weight`;
    const cache = ["key", "value"].map((which) => {
      const names = [`past_key_values.${i}.${which}`, `present.${i}.${which}`];
      const shape = (length: string) => ["batch_size", kvHeads, length, head];
      inputs.push(value(names[0], "float32", shape("past")));
      outputs.push(value(names[1], "float32", shape("all")));
      return names;
    });
    await multiply(
      `n${i}`,
      `qkv${i}`,
      hidden,
      weight("attn_q"),
      weight("attn_k"),
      weight("attn_v"),
    );
    fused(
      "GroupQueryAttention",
      [
        `qkv${i}`,
        "",
        "",
        cache[0][0],
        cache[1][0],
        "before",
        "all",
        "cosines",
        "sines",
      ],
      [`attention${i}`, cache[0][1], cache[1][1]],
      {
        // Rows of GGUF's q and k lie in pairs that are turned.
        integers: {
          num_heads: heads,
          kv_num_heads: kvHeads,
          do_rotary: 1,
          rotary_interleaved: 1,
        },
        floats: { scale: 1 / Math.sqrt(head) },
      },
    );
    await multiply(`attention${i}`, `o${i}`, hidden, weight("attn_output"));
    fused(
      "SkipSimplifiedLayerNormalization",
      [`x${i}`, `o${i}`, await norms(weight("ffn_norm"))],
      [`m${i}`, "", "", `y${i}`],
      { floats: { epsilon } },
    );
    await multiply(`m${i}`, `gate${i}`, hidden, weight("ffn_gate"));
    await multiply(`m${i}`, `up${i}`, hidden, weight("ffn_up"));
    add("Sigmoid", [`gate${i}`], `open${i}`);
    add("Mul", [`gate${i}`, `open${i}`], `silu${i}`);
    add("Mul", [`silu${i}`, `up${i}`], `h${i}`);
    await multiply(`h${i}`, `down${i}`, ffn, weight("ffn_down"));
    const next = i + 1 < sizes.layers
      ? `blk.${i + 1}.attn_norm.weight`
      : "output_norm.weight";
    fused(
      "SkipSimplifiedLayerNormalization",
      [`y${i}`, `down${i}`, await norms(next)],
      [`n${i + 1}`, "", "", `x${i + 1}`],
      { floats: { epsilon } },
    );
  }
  add("Gather", [`n${sizes.layers}`, "last"], "n_last", {
    integers: { axis: 1 },
  });
  const output = file.tensors.has("output.weight") ? "output" : "token_embd";
  await multiply("n_last", "logits", hidden, `${output}.weight`);
  return onnxFile({ nodes, tensors, inputs, outputs });
}

/** Cosines and sines of each position's angles. */
function rotation({ head, context, base }: ReturnType<typeof sizesOf>) {
  const half = head / 2;
  const cosines = new Float32Array(context * half);
  const sines = new Float32Array(context * half);
  for (let position = 0; position < context; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position / base ** (2 * i / head);
      cosines[position * half + i] = Math.cos(angle);
      sines[position * half + i] = Math.sin(angle);
    }
  }
  return { cosines, sines };
}
