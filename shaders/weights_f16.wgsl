// F16: a lane's four vectors of 8 halves, each a pair of quads (2i, 2i + 1).
fn unit_weights(row: u32, unit: u32) -> array<vec4f, 8> {
  let first = 32u * (row * product.groups + unit / 8u) + unit % 8u;
  var weights: array<vec4f, 8>;
  for (var i = 0u; i < 4u; i++) {
    let halves = matrix[first + 8u * i];
    weights[2u * i] = vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y));
    weights[2u * i + 1u] = vec4f(unpack2x16float(halves.z), unpack2x16float(halves.w));
  }
  return weights;
}
