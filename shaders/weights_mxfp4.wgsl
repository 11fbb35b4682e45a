// MXFP4: weight = d · table[q]. A row is laid out as one of Q4_0, but that a d, a
// power of two, is the upper half of an f32.
const halves_mxfp4 = false;

fn integers_mxfp4(row: u32, unit: u32) -> Integers {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + unit];
  let scales = matrix[start + 8u * params.groups + unit / 8u][unit / 2u % 4u];
  let d = bitcast<f32>(select(scales << 16u, scales & 0xffff0000u, unit % 2u == 1u));
  return Integers(bytes_of_mxfp4(nibbles), bytes_of_mxfp4(nibbles >> vec4u(4u)), vec2f(d), vec2f());
}

// Twice the numbers of E2M1 (a sign, two bits of exponent, one of mantissa): 0 to
// 4, 6, 8 and 12, in each byte.
fn bytes_of_mxfp4(q: vec4u) -> vec4u {
  let ones = vec4u(0x01010101u);
  let large = (q >> vec4u(2u)) & ones;
  let two = (q >> vec4u(1u)) & large;
  let one = q & large;
  // 5, 6 and 7 become 1, 2 and 5 more.
  let magnitude = (q & vec4u(0x07070707u)) + one + (two << vec4u(1u)) + ((one & two) << vec4u(1u));
  // No byte borrows from the next: 128 less a magnitude is above 0.
  let bias = vec4u(0x80808080u);
  let negative = ((q >> vec4u(3u)) & ones) * vec4u(255u);
  return ((bias + (magnitude & ~negative)) - (magnitude & negative)) ^ bias;
}
