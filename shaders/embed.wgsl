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
  let scale = select(0.0, params.scale, is_held);
  x[first] = scale * weights[0];
  x[first + 8u] = scale * weights[1];
  x[first + 16u] = scale * weights[2];
  x[first + 24u] = scale * weights[3];
  x[first + 32u] = scale * weights[4];
  x[first + 40u] = scale * weights[5];
  x[first + 48u] = scale * weights[6];
  x[first + 56u] = scale * weights[7];
}
