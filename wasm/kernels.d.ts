/**
 * What an instance of the kernels exports. Pointers are byte offsets into `memory`; all of it from `heap_base()` on belongs to the caller. Strides named
 * `…Bytes` are in bytes, `…Stride` in floats. Counts may be zero. `wasm/src` documents each kernel, `wasm/src/layout.rs` the packed rows.
 *
 * A packed `kind` is 0 F32, 1 F16, 2 Q4, 3 Q4 with mins, 4 the same in f32, 5 to 10 nibbles that number a table (of IQ4, FP4, IQ3_XXS, IQ3_S, IQ2_XXS,
 * IQ1_S), 11 I8, 12 I8 with mins, 13 I8 with a scale per 16, 14 the same with mins.
 */
export interface Kernels {
  readonly memory: WebAssembly.Memory;

  /** The first byte that the caller may use. */
  heap_base(): number;
  /** The wrapping sum of the 32-bit words of `length` bytes: a plain read, to compare a kernel's bandwidth with. */
  read_bytes(pointer: number, length: number): number;

  /**
   * Chooses among kernels that give the same results, the sum of: 1, more rows of one token side by side; 2, products of nibbles with one token summed
   * in i32 at once; 4, those with several tokens. 0 at first. Gives what was chosen before.
   */
  choose(variant: number): number;

  /** Bytes of a packed row of `k` weights, a multiple of 4; 0 for an unknown kind. */
  packed_row_bytes(kind: number, k: number): number;
  /** Bytes of a row of `k` quantised activations, a multiple of 16. */
  activation_row_bytes(k: number): number;

  /**
   * Packs columns `firstCol..firstCol + k` (multiples of 32 for block types) of ggml rows. Returns the rows written: those before the first
   * with a weight or a scale that is not finite, and 0 where `kind` is neither the one that holds the type exactly nor F32.
   */
  repack(
    ggmlType: number,
    kind: number,
    src: number,
    nRows: number,
    srcRowBytes: number,
    firstCol: number,
    k: number,
    dst: number,
    dstRowBytes: number,
  ): number;
  /** The exact f32 values of a packed row. */
  unpack_row(kind: number, row: number, k: number, out: number): void;
  /**
   * Writes blocks of Q4_K (ggml's type 12) or Q6_K (14) of 256 f32 weights each; their bytes are zero before. Returns how many it wrote: the next one has
   * a weight that is not finite, or a scale beyond f16.
   */
  quantise_k(
    ggmlType: number,
    values: number,
    blocks: number,
    out: number,
  ): number;
  /** Quantises f32 rows to i8 per block of 32; pads with zeros. */
  quantise_activations(
    x: number,
    xStride: number,
    nTokens: number,
    k: number,
    out: number,
    outRowBytes: number,
  ): void;

  /** out[t * outStride + r] = row r . x[t]; `x` is quantised (block kinds) or f32 padded with zeros to a multiple of 8 (F32, F16). */
  matmul(
    kind: number,
    w: number,
    wRowBytes: number,
    nRows: number,
    k: number,
    x: number,
    xRowBytes: number,
    nTokens: number,
    out: number,
    outStride: number,
  ): void;
  /** matmul in stack frames that lie 8 bytes off (src/kernels/stack_frames.ts). */
  matmul_shifted(
    kind: number,
    w: number,
    wRowBytes: number,
    nRows: number,
    k: number,
    x: number,
    xRowBytes: number,
    nTokens: number,
    out: number,
    outStride: number,
  ): void;
  /** As matmul where `asked`, of out's shape and stride, is at least `least`; other results are left alone. Returns how many were computed. */
  matmul_where(
    kind: number,
    w: number,
    wRowBytes: number,
    nRows: number,
    k: number,
    x: number,
    xRowBytes: number,
    nTokens: number,
    asked: number,
    least: number,
    out: number,
    outStride: number,
  ): number;
  /** out[id] = row id . x for the ids (u32) only; one token. */
  matvec_rows(
    kind: number,
    w: number,
    wRowBytes: number,
    ids: number,
    nIds: number,
    k: number,
    x: number,
    out: number,
  ): void;
  /** matvec_rows in such frames. */
  matvec_rows_shifted(
    kind: number,
    w: number,
    wRowBytes: number,
    ids: number,
    nIds: number,
    k: number,
    x: number,
    out: number,
  ): void;
  /** out[t] += sum over j of h[t][j] * row j; rows whose coefficients are all zero are not read. Returns the rows read. */
  axpy_rows(
    kind: number,
    w: number,
    wRowBytes: number,
    nRows: number,
    k: number,
    h: number,
    hStride: number,
    nTokens: number,
    out: number,
    outStride: number,
  ): number;

  /**
   * Sums of rows with coefficients, group by group: rows `order[i]` (u32) for i before `ends[0]` are the first group, and so on. Behind group g the
   * uppermost `merges[g]` pairs of a stack of sums are added up; place i of the stack is at the pointer `levels[i]`, `[nTokens, outStride]`. Rows whose
   * coefficients are all zero are not read. Returns the rows read.
   */
  axpy_groups(
    kind: number,
    w: number,
    wRowBytes: number,
    order: number,
    ends: number,
    merges: number,
    nGroups: number,
    k: number,
    h: number,
    hStride: number,
    nTokens: number,
    levels: number,
    outStride: number,
  ): number;

  /** out = x / sqrt(mean of x^2 + eps) * weight, zeros for k <= i < outStride. */
  rms_norm(
    x: number,
    xStride: number,
    weight: number,
    nTokens: number,
    k: number,
    eps: number,
    out: number,
    outStride: number,
  ): void;
  /** out = (x - mean) / sqrt(variance + eps) * weight + bias, zeros for k <= i < outStride. */
  layer_norm(
    x: number,
    xStride: number,
    weight: number,
    bias: number,
    nTokens: number,
    k: number,
    eps: number,
    out: number,
    outStride: number,
  ): void;
  /** Rotates pairs (2i, 2i + 1), i < nRot / 2, of each head in place; `cosSin` has nRot / 2 pairs (cos, sin). */
  rope(
    x: number,
    nHeads: number,
    headDim: number,
    nRot: number,
    cosSin: number,
  ): void;
  /**
   * Stores a key and a value of one KV head at position `slot` (0 to 31) of a page: cache type 0 f32, 1 f16 (nearest even, saturating), 2 q8_0.
   * `wasm/src/kv.rs` says how a page lies; its 32 positions take 2 * 4, 2 * 2 bytes an element of the head, padded to a multiple of 8, or
   * 2 * 34 bytes for each 32 elements, begun ones too.
   */
  kv_store(
    cacheType: number,
    key: number,
    value: number,
    headDim: number,
    page: number,
    slot: number,
  ): void;
  /**
   * Attention of a sequence's next `nTokens` tokens for the query heads that share a KV head. Token t sees the positions before `nPositions + t`, the
   * last `window` of them where that is not 0. Where `cap` is not 0, scores s become cap * tanh(s / cap). Where `sinks` is not 0, it is
   * the address of one more score for each head, of no value. `pages` holds the u32 byte offsets of pages; headDim is at most 1024, nPositions at least 1.
   * Returns how many positions were read: several rows share a page that is read.
   */
  attention(
    cacheType: number,
    q: number,
    qStride: number,
    nTokens: number,
    nHeads: number,
    headDim: number,
    pages: number,
    nPositions: number,
    window: number,
    scale: number,
    cap: number,
    sinks: number,
    out: number,
    outStride: number,
  ): number;

  /** out = act(gate) * act'(up), act 0 dReLU, 1 ReGLU, 2 SwiGLU, 3 ReLU squared, 4 GeGLU, 5 gpt-oss's SwiGLU; returns how many are not zero. */
  gated(
    act: number,
    gate: number,
    up: number,
    out: number,
    n: number,
  ): number;
  /** out = act(up), of an FFN without a gate; returns how many are not zero. */
  ungated(act: number, up: number, out: number, n: number): number;
  /**
   * Neurons of one token whose packed rows of gate, up and down, of `k` weights each, follow one another from `w + id * neuronBytes` on:
   * gate[id] for each id, up[id] where that is positive, and sums of h * down where h is not zero, in groups as by `axpy_groups`: ids come group by
   * group, `groupOf` (u32) says of which each is. Writes into `read`, two u32, how many up and how many down rows were read. `x` as for `matmul`,
   * `act` as for `gated`.
   */
  neurons(
    kind: number,
    act: number,
    w: number,
    neuronBytes: number,
    ids: number,
    nIds: number,
    k: number,
    x: number,
    gate: number,
    up: number,
    groupOf: number,
    merges: number,
    nGroups: number,
    levels: number,
    read: number,
  ): void;
  /** How many of g > 0 there are. */
  count_positive(g: number, n: number): number;
  /** Writes the ids of g > 0, ascending; returns how many. */
  select_positive(g: number, n: number, ids: number): number;
  /** Writes the ids of score >= threshold, ascending; returns how many. */
  select_at_least(
    score: number,
    n: number,
    threshold: number,
    ids: number,
  ): number;
  /** Writes those of the `n` ids of `order` whose score >= threshold, in their order; returns how many. */
  select_in_order(
    score: number,
    order: number,
    n: number,
    threshold: number,
    ids: number,
  ): number;
  /** Writes the ids of the `k` largest values, at most 256: the largest first, the lower id first among equals, NaN before all others; returns how many. */
  largest(values: number, n: number, k: number, ids: number): number;

  /**
   * Copies packed rows of I8, I8H, I6 or K6, of `k` weights, to rows of Q4 behind whose columns come `extra` more: those that `columns` lists, with what the
   * first ones leave of them. Writes the norm of what is left of each row at last, times `inverse` by column, to `norms`, and bounds of the norms of
   * rows, copies and extra columns so far to `most`. `squares`, i16 in the order of bytes in packed groups, are those of `inverse` over `unit`, rounded
   * up, and 0 for `columns`. `weights` is scratch of `k + extra` floats.
   */
  screen_rows(
    kind: number,
    rows: number,
    rowBytes: number,
    nRows: number,
    k: number,
    columns: number,
    extra: number,
    inverse: number,
    squares: number,
    unit: number,
    weights: number,
    out: number,
    outRowBytes: number,
    norms: number,
    most: number,
  ): void;
  /**
   * Puts the activations of extra columns behind `k` others. Writes the norms of these as they are quantised, times `factor` by column; of how far the
   * extra ones are off, being quantised in other blocks; and of the first ones as they are. `rounded` is scratch of `k` floats.
   */
  screen_input(
    x: number,
    k: number,
    columns: number,
    extra: number,
    factor: number,
    rounded: number,
    norms: number,
  ): void;
  /** Writes the ids of values that are not below `least` when `factor` times their norm is added, ascending; returns how many. */
  select_reaching(
    values: number,
    norms: number,
    n: number,
    factor: number,
    least: number,
    ids: number,
  ): number;
  /** Zeroes the elements with |h| <= threshold; returns how many remain. */
  keep_above(h: number, n: number, threshold: number): number;
  /** x = max(x, 0). */
  relu(x: number, n: number): void;
  /** x += y. */
  add(x: number, y: number, n: number): void;
  /** x *= factor. */
  scale(x: number, n: number, factor: number): void;
  /** x = cap * tanh(x / cap). */
  soft_cap(x: number, n: number, cap: number): void;

  /**
   * Logits in, gradients of their binary cross-entropy out: sigmoid(x), and where `hits`, a byte each, is not 0, weight * (sigmoid(x) - 1).
   */
  cross_entropy_gradient(
    x: number,
    hits: number,
    n: number,
    weight: number,
  ): void;
  /** A step of Adam, which keeps the gradient's running `mean` and mean `square`; `rate` has the corrections for their start at zero. */
  adam(
    weights: number,
    gradient: number,
    mean: number,
    square: number,
    n: number,
    rate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
  ): void;
}
