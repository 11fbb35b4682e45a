// Q8_0: weight = d · q. A row has a plane of q (a lane's eight quads are two
// vectors) and a plane of d (the eight halves of a group are one vector).
fn unit_weights(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 17u * product.groups;
  let first = start + 16u * (unit / 8u) + unit % 8u;
  let scales = matrix[start + 16u * product.groups + unit / 8u];
  var weights: array<vec4f, 8>;
  for (var half = 0u; half < 2u; half++) {
    let q = matrix[first + 8u * half];
    for (var i = 0u; i < 4u; i++) {
      let j = 4u * half + i;
      weights[j] = unpack2x16float(scales[j / 2u])[j % 2u] * vec4f(unpack4xI8(q[i]));
    }
  }
  return weights;
}
