// Q4_0: weight = d · (q - 8). A row has a plane of nibbles (a vector for each unit,
// word i holds quad i low and quad i + 4 high) and a plane of d, halves.
const halves_q4_0 = false;

fn integers_q4_0(row: u32, unit: u32) -> Integers {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + unit];
  let d = half_at(start + 8u * params.groups, unit);
  return Integers(low_nibbles(nibbles), high_nibbles(nibbles), vec2f(d), vec2f(-8.0 * d));
}
