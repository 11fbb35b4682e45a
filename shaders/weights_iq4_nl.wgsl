// IQ4_NL: weight = d · table[q]. A row is laid out as one of Q4_0.
const halves_iq4_nl = false;

fn integers_iq4_nl(row: u32, unit: u32) -> Integers {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + unit];
  let d = half_at(start + 8u * params.groups, unit);
  return Integers(iq4_bytes(nibbles), iq4_bytes(nibbles >> vec4u(4u)), vec2f(d), vec2f());
}
