// IQ4_XS: weight = d · scale · table[q]; a group is a block of the file. A row has
// a plane of nibbles (as in Q4_0) and one of the blocks' heads: d, a half, in the
// first word, and a scale for each quad of a lane, a signed byte, in the next two.
fn unit_weights_iq4_xs(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + unit];
  let head = matrix[start + 8u * params.groups + unit / 8u];
  let low = nibbles & vec4u(0x0f0f0f0fu);
  let high = (nibbles >> vec4u(4u)) & vec4u(0x0f0f0f0fu);
  let d = unpack2x16float(head.x).x;
  let a = d * vec4f(unpack4xI8(head.y));
  let b = d * vec4f(unpack4xI8(head.z));
  return array<vec4f, 8>(
    a.x * quad_of_iq4_xs(low.x), a.y * quad_of_iq4_xs(high.x),
    a.z * quad_of_iq4_xs(low.y), a.w * quad_of_iq4_xs(high.y),
    b.x * quad_of_iq4_xs(low.z), b.y * quad_of_iq4_xs(high.z),
    b.z * quad_of_iq4_xs(low.w), b.w * quad_of_iq4_xs(high.w),
  );
}

// The table's numbers, as in IQ4_NL.
fn quad_of_iq4_xs(bytes: u32) -> vec4f {
  let x = vec4f(unpack4xU8(bytes)) - 7.5;
  return round(((((0.000145 * x + 0.00108) * x + 0.0698) * x - 0.113) * x + 11.616) * x - 4.42);
}

// Quad j of a lane's unit.
fn quad_weights_iq4_xs(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let start = row * 9u * params.groups;
  let head = matrix[start + 8u * params.groups + group];
  let nibbles = matrix[start + 8u * group + lane][j / 2u];
  let q = (nibbles >> (4u * (j % 2u))) & 0x0f0f0f0fu;
  let scale = f32(unpack4xI8(select(head.y, head.z, j >= 4u))[j % 4u]);
  return unpack2x16float(head.x).x * scale * quad_of_iq4_xs(q);
}
