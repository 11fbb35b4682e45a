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
  let x_at = id.y * params.x_stride;
  let scale = select(0.0, params.scale, is_held);
  x[x_at + quad_at(unit, 0u)] = scale * weights[0];
  x[x_at + quad_at(unit, 1u)] = scale * weights[1];
  x[x_at + quad_at(unit, 2u)] = scale * weights[2];
  x[x_at + quad_at(unit, 3u)] = scale * weights[3];
  x[x_at + quad_at(unit, 4u)] = scale * weights[4];
  x[x_at + quad_at(unit, 5u)] = scale * weights[5];
  x[x_at + quad_at(unit, 6u)] = scale * weights[6];
  x[x_at + quad_at(unit, 7u)] = scale * weights[7];
}
