// Q8_0: weight = d · q. A row has a plane of q (of each group the units' first
// vectors, then their second ones) and a plane of d, halves.
const halves_q8_0 = false;

fn integers_q8_0(row: u32, unit: u32) -> Integers {
  let start = row * 17u * params.groups;
  let first = start + 16u * (unit / 8u) + unit % 8u;
  let low = matrix[first];
  let high = matrix[first + 8u];
  return Integers(low, high, vec2f(half_at(start + 16u * params.groups, unit)), vec2f());
}
