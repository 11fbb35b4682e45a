// partials[stretch][token] = Σ h · row of down over a stretch of neurons, for
// those whose h is not zero. A workgroup has 256 columns (x), a stretch (y) and
// `tokens` tokens (z). It first lists, in order, the neurons of which any token
// has a use, then adds up their rows, eight at a time.
struct Down {
  // Neurons of the matrix, and the number of the first in h
  rows: u32,
  first: u32,
  groups: u32,
  // Floats of h from one token to the next
  h_stride: u32,
  // Vectors of a token's partial
  stride: u32,
}
@group(0) @binding(1) var<uniform> product: Down;
@group(0) @binding(2) var<storage, read> matrix: array<vec4u>;
@group(0) @binding(3) var<storage, read> h: array<f32>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4f>;

// Tokens of a workgroup, at most 8
override tokens: u32 = 1;
// Whether this piece of the matrix adds to what others wrote
override adds: bool = false;

const chunk = 64u;
var<workgroup> listed: array<u32, chunk>;
var<workgroup> listed_before: array<u32, chunk>;
var<workgroup> listed_count: u32;
// Rows of eight neurons, and their h of eight tokens
var<workgroup> rows_tile: array<vec4f, 512>;
var<workgroup> values: array<f32, 64>;

@compute @workgroup_size(chunk)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let count = step[token_count];
  let length = (product.rows + step[stretch_count] - 1u) / step[stretch_count];
  let end = min((group.y + 1u) * length, product.rows);
  let first_token = group.z * tokens;
  let lane = index % 8u;
  var sums: array<vec4f, 8>;

  for (var base = group.y * length; base < end; base += chunk) {
    let total = list_neurons(base + index, end, first_token, count, index);
    for (var i = 0u; i < total; i += 8u) {
      let entry = i + index / 8u;
      var weights: array<vec4f, 8>;
      var value = 0.0;
      if (entry < total) {
        weights = unit_weights(listed[entry], 8u * group.x + lane);
        value = h_of(first_token + lane, listed[entry], count);
      }
      for (var j = 0u; j < 8u; j++) {
        rows_tile[64u * (index / 8u) + 8u * j + lane] = weights[j];
      }
      values[index] = value;
      workgroupBarrier();
      for (var n = 0u; n < 8u; n++) {
        let quad = rows_tile[64u * n + index];
        for (var t = 0u; t < tokens; t++) { sums[t] += values[8u * n + t] * quad; }
      }
      workgroupBarrier();
    }
  }

  for (var t = 0u; t < tokens; t++) {
    let token = first_token + t;
    if (token >= count) { break; }
    // Slot 0 is for what other places add
    let at = ((group.y + 1u) * count + token) * product.stride + 64u * group.x + index;
    if (adds) { partials[at] += sums[t]; } else { partials[at] = sums[t]; }
  }
}

fn h_of(token: u32, row: u32, count: u32) -> f32 {
  if (token >= count) { return 0.0; }
  return h[token * product.h_stride + product.first + row];
}

// Lists, in order, the neurons of a chunk whose h of any token is not zero, by
// a prefix sum; returns how many they are.
fn list_neurons(row: u32, end: u32, first_token: u32, count: u32, index: u32) -> u32 {
  var is_used = false;
  if (row < end) {
    for (var t = 0u; t < tokens; t++) {
      is_used = is_used || h_of(first_token + t, row, count) != 0.0;
    }
  }
  var up_to = u32(is_used);
  for (var distance = 1u; distance < chunk; distance *= 2u) {
    listed_before[index] = up_to;
    workgroupBarrier();
    if (index >= distance) { up_to += listed_before[index - distance]; }
    workgroupBarrier();
  }
  if (is_used) { listed[up_to - 1u] = row; }
  if (index == chunk - 1u) { listed_count = up_to; }
  return workgroupUniformLoad(&listed_count);
}
