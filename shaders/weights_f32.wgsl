// F32: 256 weights are 64 vectors, in the file's order.
fn unit_weights(row: u32, unit: u32) -> array<vec4f, 8> {
  let first = 64u * (row * product.groups + unit / 8u) + unit % 8u;
  var weights: array<vec4f, 8>;
  for (var j = 0u; j < 8u; j++) {
    weights[j] = bitcast<vec4f>(matrix[first + 8u * j]);
  }
  return weights;
}
