// Q4_0: weight = d · (q - 8). A row has a plane of nibbles (a lane's eight quads
// are one vector, word i holds quad 2i low and quad 2i + 1 high) and a plane of
// d (the eight halves of a group are one vector).
fn unit_weights(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 9u * product.groups;
  let nibbles = matrix[start + unit];
  let scales = matrix[start + 8u * product.groups + unit / 8u];
  var weights: array<vec4f, 8>;
  for (var i = 0u; i < 4u; i++) {
    let d = unpack2x16float(scales[i]);
    let low = vec4f(unpack4xU8(nibbles[i] & 0x0f0f0f0fu));
    let high = vec4f(unpack4xU8((nibbles[i] >> 4u) & 0x0f0f0f0fu));
    weights[2u * i] = d.x * (low - 8.0);
    weights[2u * i + 1u] = d.y * (high - 8.0);
  }
  return weights;
}
