// Q4_0: weight = d · (q - 8). A row has a plane of nibbles (a lane's eight quads
// are one vector, word i holds quad 2i low and quad 2i + 1 high) and a plane of
// d (the eight halves of a group are one vector).
fn unit_weights_q4_0(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + unit];
  let scales = matrix[start + 8u * params.groups + unit / 8u];
  let low = nibbles & vec4u(0x0f0f0f0fu);
  let high = (nibbles >> vec4u(4u)) & vec4u(0x0f0f0f0fu);
  let d01 = unpack2x16float(scales.x);
  let d23 = unpack2x16float(scales.y);
  let d45 = unpack2x16float(scales.z);
  let d67 = unpack2x16float(scales.w);
  return array<vec4f, 8>(
    d01.x * quad_of_q4_0(low.x), d01.y * quad_of_q4_0(high.x),
    d23.x * quad_of_q4_0(low.y), d23.y * quad_of_q4_0(high.y),
    d45.x * quad_of_q4_0(low.z), d45.y * quad_of_q4_0(high.z),
    d67.x * quad_of_q4_0(low.w), d67.y * quad_of_q4_0(high.w),
  );
}

fn quad_of_q4_0(bytes: u32) -> vec4f {
  return vec4f(unpack4xU8(bytes)) - 8.0;
}

// Quad j of a lane's unit.
fn quad_weights_q4_0(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let start = row * 9u * params.groups;
  let scales = matrix[start + 8u * params.groups + group][j / 2u];
  let nibbles = matrix[start + 8u * group + lane][j / 2u];
  let q = (nibbles >> (4u * (j % 2u))) & 0x0f0f0f0fu;
  return unpack2x16float(scales)[j % 2u] * quad_of_q4_0(q);
}
