// Q4_K: weight = d · scale · q - dmin · minimum; a group is a block of the file.
// A row has a plane of nibbles (as in Q4_0) and a plane of the blocks' heads, as
// the file has them: d and dmin as halves, then 12 bytes of 6-bit scales and
// minimums, one of each for every unit.
const halves_q4_k = false;

fn integers_q4_k(row: u32, unit: u32) -> Integers {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + unit];
  let head = matrix[start + 8u * params.groups + unit / 8u];
  let shift = 8u * (unit % 4u);
  // Scales and minimums 0 to 3 are whole; 4 to 7 have their upper two bits above those.
  let upper = (head.yz >> vec2u(shift + 2u)) & vec2u(0x30u);
  let whole = (head.yz >> vec2u(shift)) & vec2u(0x3fu);
  let split = ((vec2u(head.w) >> vec2u(shift, shift + 4u)) & vec2u(0x0fu)) | upper;
  let by = unpack2x16float(head.x) * vec2f(select(whole, split, unit % 8u >= 4u));
  return Integers(low_nibbles(nibbles), high_nibbles(nibbles), vec2f(by.x), vec2f(-by.y));
}
