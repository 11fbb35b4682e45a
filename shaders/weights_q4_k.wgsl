// Q4_K: weight = d · scale · q - dmin · minimum; a group is a block of the file.
// A row has a plane of nibbles (as in Q4_0) and a plane of the blocks' heads, as
// the file has them: d and dmin as halves, then 12 bytes of 6-bit scales and
// minimums, one of each for every quad of a lane.
fn unit_weights(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 9u * product.groups;
  let nibbles = matrix[start + unit];
  let head = matrix[start + 8u * product.groups + unit / 8u];
  let d = unpack2x16float(head.x);
  // Scales and minimums 0 to 3 are whole; 4 to 7 have their upper two bits above those.
  let upper = (head.yz >> vec2u(2u)) & vec2u(0x30303030u);
  let low_scales = vec4f(unpack4xU8(head.y & 0x3f3f3f3fu));
  let high_scales = vec4f(unpack4xU8((head.w & 0x0f0f0f0fu) | upper.x));
  let low_minimums = vec4f(unpack4xU8(head.z & 0x3f3f3f3fu));
  let high_minimums = vec4f(unpack4xU8(((head.w >> 4u) & 0x0f0f0f0fu) | upper.y));
  var weights: array<vec4f, 8>;
  for (var i = 0u; i < 4u; i++) {
    let low = vec4f(unpack4xU8(nibbles[i] & 0x0f0f0f0fu));
    let high = vec4f(unpack4xU8((nibbles[i] >> 4u) & 0x0f0f0f0fu));
    let scales = d.x * select(high_scales, low_scales, i < 2u);
    let minimums = d.y * select(high_minimums, low_minimums, i < 2u);
    let j = (2u * i) % 4u;
    weights[2u * i] = scales[j] * low - minimums[j];
    weights[2u * i + 1u] = scales[j + 1u] * high - minimums[j + 1u];
  }
  return weights;
}
