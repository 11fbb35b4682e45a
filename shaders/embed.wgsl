// x[token] = the row of the embedding that is the token's. An invocation writes
// one unit of a row; y is the token.
struct Embed {
  // The first id that the matrix has a row for
  first: u32,
  rows: u32,
  groups: u32,
  // Vectors of x from one token to the next
  x_stride: u32,
}
@group(0) @binding(1) var<uniform> product: Embed;
@group(0) @binding(2) var<storage, read> matrix: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4f>;

// Whether rows of other ids become zero; further pieces of a matrix leave them
override clears: bool = true;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let unit = id.x;
  if (unit >= 8u * product.groups) { return; }
  let row = token_at(id.y, record_id) - product.first;
  let is_held = row < product.rows;
  if (!is_held && !clears) { return; }
  let weights = unit_weights(min(row, product.rows - 1u), unit);
  let first = id.y * product.x_stride + 64u * (unit / 8u) + unit % 8u;
  let none = vec4f();
  x[first] = select(none, weights[0], is_held);
  x[first + 8u] = select(none, weights[1], is_held);
  x[first + 16u] = select(none, weights[2], is_held);
  x[first + 24u] = select(none, weights[3], is_held);
  x[first + 32u] = select(none, weights[4], is_held);
  x[first + 40u] = select(none, weights[5], is_held);
  x[first + 48u] = select(none, weights[6], is_held);
  x[first + 56u] = select(none, weights[7], is_held);
}
