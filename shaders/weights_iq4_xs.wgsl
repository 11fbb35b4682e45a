// IQ4_XS: weight = d · scale · table[q]; a group is a block of the file. A row has
// a plane of nibbles (as in Q4_0) and one of the blocks' heads: d, a half, in the
// first word, and a scale for each unit, a signed byte, in the next two.
const halves_iq4_xs = false;

fn integers_iq4_xs(row: u32, unit: u32) -> Integers {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + unit];
  let head = matrix[start + 8u * params.groups + unit / 8u];
  let scales = unpack4xI8(select(head.y, head.z, unit % 8u >= 4u) >> (8u * (unit % 4u)));
  let d = unpack2x16float(head.x).x * f32(scales.x);
  return Integers(iq4_bytes(nibbles), iq4_bytes(nibbles >> vec4u(4u)), vec2f(d), vec2f());
}
