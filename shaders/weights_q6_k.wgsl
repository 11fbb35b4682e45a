// Q6_K: weight = d · scale · (q - 32); a group is a block of the file. A row has
// planes of nibbles (a vector for each lane: two words of quads for each half of
// the block), of upper bit pairs (two words for each lane), of scales (16 bytes
// for each group) and of d (halves, eight groups to a vector).
fn unit_weights(row: u32, unit: u32) -> array<vec4f, 8> {
  let groups = product.groups;
  let group = unit / 8u;
  let start = row * (13u * groups + (groups + 7u) / 8u);
  let nibbles = matrix[start + unit];
  let pairs = matrix[start + 8u * groups + unit / 2u];
  let scales = matrix[start + 12u * groups + group];
  let halves = matrix[start + 13u * groups + group / 8u];
  let d = unpack2x16float(halves[group / 2u % 4u])[group % 2u];
  // A quad's scale is one of its 32 weights' two, by which half of them the lane is in.
  let side = unit % 8u / 4u;
  var weights: array<vec4f, 8>;
  for (var half = 0u; half < 2u; half++) {
    let upper = pairs[2u * (unit % 2u) + half];
    for (var i = 0u; i < 4u; i++) {
      let low = (nibbles[2u * half + i % 2u] >> (4u * (i / 2u))) & 0x0f0f0f0fu;
      let high = ((upper >> (2u * i)) & 0x03030303u) << 4u;
      let j = 4u * half + i;
      let scale = f32(unpack4xI8(scales[j / 2u])[2u * (j % 2u) + side]);
      weights[j] = d * scale * (vec4f(unpack4xU8(low | high)) - 32.0);
    }
  }
  return weights;
}
