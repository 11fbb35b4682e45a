// x[token] = the row of the embedding that is the token's. An invocation writes
// one unit of a row; y is the token.
@compute @workgroup_size(units)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let unit = id.x;
  if (unit >= 8u * params.groups) { return; }
  let row = token_at(id.y, record_id) - params.first;
  let is_held = row < params.rows;
  if (!is_held && !clears) { return; }
  let weights = unit_weights(min(row, params.rows - 1u), unit);
  let first = id.y * params.x_stride + 64u * (unit / 8u) + unit % 8u;
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
