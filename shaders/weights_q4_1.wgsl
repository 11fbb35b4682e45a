// Q4_1: weight = d · q + m. A row has a plane of nibbles (as in Q4_0), one of d and
// one of m, halves.
const halves_q4_1 = false;

fn integers_q4_1(row: u32, unit: u32) -> Integers {
  let start = row * 10u * params.groups;
  let nibbles = matrix[start + unit];
  let d = half_at(start + 8u * params.groups, unit);
  let m = half_at(start + 9u * params.groups, unit);
  return Integers(low_nibbles(nibbles), high_nibbles(nibbles), vec2f(d), vec2f(m));
}
