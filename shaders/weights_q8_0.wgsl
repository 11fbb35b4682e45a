// Q8_0: weight = d · q. A row has a plane of q (a lane's eight quads are two
// vectors) and a plane of d (the eight halves of a group are one vector).
fn unit_weights_q8_0(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 17u * params.groups;
  let first = start + 16u * (unit / 8u) + unit % 8u;
  let a = matrix[first];
  let b = matrix[first + 8u];
  let scales = matrix[start + 16u * params.groups + unit / 8u];
  let d01 = unpack2x16float(scales.x);
  let d23 = unpack2x16float(scales.y);
  let d45 = unpack2x16float(scales.z);
  let d67 = unpack2x16float(scales.w);
  return array<vec4f, 8>(
    d01.x * quad_of_q8_0(a.x), d01.y * quad_of_q8_0(a.y),
    d23.x * quad_of_q8_0(a.z), d23.y * quad_of_q8_0(a.w),
    d45.x * quad_of_q8_0(b.x), d45.y * quad_of_q8_0(b.y),
    d67.x * quad_of_q8_0(b.z), d67.y * quad_of_q8_0(b.w),
  );
}

fn quad_of_q8_0(bytes: u32) -> vec4f {
  return vec4f(unpack4xI8(bytes));
}

// Quad j of a lane's unit.
fn quad_weights_q8_0(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let start = row * 17u * params.groups;
  let scales = matrix[start + 16u * params.groups + group][j / 2u];
  let bytes = matrix[start + 16u * group + 8u * (j / 4u) + lane][j % 4u];
  return unpack2x16float(scales)[j % 2u] * quad_of_q8_0(bytes);
}
