// What the two kernels of matrix products share: a row of the matrix times the
// normed x of a token, and what becomes of it.
struct Product {
  rows: u32,
  // The matrix has this many times 256 columns, the last ones zero
  groups: u32,
  // Vectors of x from one token to the next
  x_stride: u32,
  // Floats of out (and of asked) from one token to the next
  out_stride: u32,
  // Where the first row's result goes
  out_first: u32,
  // Results from `rows` to here are set to zero
  padded_rows: u32,
  // Columns that count for the norm
  columns: u32,
  epsilon: f32,
  threshold: f32,
  // Where the layer's counters are: three for single tokens, three for tiles
  counter: u32,
  // From which number on rows are of a second type of weights, and of a third, and
  // what is added to numbers there: rows are found by counting those of their size.
  second_row: u32,
  second_shift: u32,
  third_row: u32,
  third_shift: u32,
}
@group(0) @binding(1) var<uniform> product: Product;
@group(0) @binding(2) var<storage, read> matrix: array<vec4u>;
@group(0) @binding(3) var<storage, read> x: array<vec4f>;
@group(0) @binding(4) var<storage, read> norm: array<vec4f>;
// Whether a row is needed, for each token; g of the activation
@group(0) @binding(5) var<storage, read> asked: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<storage, read_write> counters: array<atomic<u32>>;

// Whether x is normed: x · norm / rms(x)
override normed: bool = false;
// Whether x is read, token by token, where logits are wanted
override gathered: bool = false;
// Which rows are computed: all, those asked for above zero, or from the threshold on
const ask_all = 0u;
const ask_positive = 1u;
const ask_threshold = 2u;
override ask: u32 = ask_all;
// What becomes of a result
const epilogue_store = 0u;
const epilogue_add = 1u;
const epilogue_relu = 2u;
const epilogue_drelu = 3u;
const epilogue_reglu = 4u;
const epilogue_swiglu = 5u;
override epilogue: u32 = epilogue_store;

const counter_gate_positive = 0u;
const counter_active = 1u;
const counter_asked = 2u;
var<workgroup> counted: array<atomic<u32>, 3>;

fn product_count() -> u32 {
  return select(step[token_count], step[wanted_count], gathered);
}

// The first vector of x for result number `token`.
fn x_first(token: u32) -> u32 {
  if (gathered) {
    return token_at(step[wanted_first] + token, record_wanted) * product.x_stride;
  }
  return token * product.x_stride;
}

fn out_at(token: u32, row: u32) -> u32 {
  return token * product.out_stride + product.out_first + row;
}

fn is_asked(token: u32, row: u32) -> bool {
  if (row >= product.rows) { return false; }
  switch (ask) {
    case ask_positive: { return asked[out_at(token, row)] > 0.0; }
    case ask_threshold: { return asked[out_at(token, row)] >= product.threshold; }
    default: { return true; }
  }
}

// `sum` is Σ weight · x · norm, `squares` is Σ x².
fn finish(token: u32, row: u32, sum: f32, squares: f32) {
  if (row >= product.padded_rows) { return; }
  let at = out_at(token, row);
  let is_needed = is_asked(token, row);
  if (ask == ask_threshold && is_needed) { atomicAdd(&counted[counter_asked], 1u); }
  var value = select(0.0, sum, is_needed);
  if (normed) {
    value *= inverseSqrt(squares / f32(product.columns) + product.epsilon);
  }
  switch (epilogue) {
    case epilogue_add: { out[at] += value; }
    case epilogue_relu: { out[at] = max(value, 0.0); }
    case epilogue_drelu, epilogue_reglu, epilogue_swiglu: {
      if (row < product.rows) { value = activated(asked[at], value); } else { value = 0.0; }
      out[at] = value;
    }
    default: { out[at] = value; }
  }
}

// h of a neuron from its g and u; counts it.
fn activated(g: f32, u: f32) -> f32 {
  var h = max(g, 0.0);
  switch (epilogue) {
    case epilogue_drelu: { h *= max(u, 0.0); }
    case epilogue_reglu: { h *= u; }
    default: { h = g / (1.0 + exp(-g)) * u; }
  }
  if (g > 0.0) { atomicAdd(&counted[counter_gate_positive], 1u); }
  if (h != 0.0) { atomicAdd(&counted[counter_active], 1u); }
  return h;
}

// Adds what the workgroup counted; `index` is that of the invocation.
fn add_counts(index: u32) {
  if (ask == ask_threshold || epilogue >= epilogue_drelu) {
    workgroupBarrier();
    if (index < 3u) {
      atomicAdd(&counters[product.counter + counter_set + index], atomicLoad(&counted[index]));
    }
  }
}
