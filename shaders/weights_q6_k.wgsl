// Q6_K: weight = d · scale · (q - 32); a group is a block of the file. A row has
// planes of nibbles (as in Q4_0), of upper bit pairs (two words for each unit: a
// word has those of quad i of a half in bits 2i and 2i + 1 of its bytes), of scales
// (two bytes for each unit) and of d, halves.
const halves_q6_k = true;

fn integers_q6_k(row: u32, unit: u32) -> Integers {
  let groups = params.groups;
  let start = row * (13u * groups + (groups + 7u) / 8u);
  let nibbles = matrix[start + unit];
  let two_units = matrix[start + 8u * groups + unit / 2u];
  let pairs = select(two_units.xy, two_units.zw, unit % 2u == 1u);
  let scales = matrix[start + 12u * groups + unit / 8u][unit / 2u % 4u] >> (16u * (unit % 2u));
  let d = half_at(start + 13u * groups, unit / 8u) * vec2f(unpack4xI8(scales).xy);
  return Integers(
    low_nibbles(nibbles) | upper_of_q6_k(pairs.x),
    high_nibbles(nibbles) | upper_of_q6_k(pairs.y),
    d,
    -32.0 * d,
  );
}

// The upper bits of a half's four quads.
fn upper_of_q6_k(pairs: u32) -> vec4u {
  return ((vec4u(pairs) >> vec4u(0u, 2u, 4u, 6u)) & vec4u(0x03030303u)) << vec4u(4u);
}
