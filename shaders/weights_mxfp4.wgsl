// MXFP4: weight = d · table[q]. A row is laid out as one of Q4_0, but that a d, a
// power of two, is the upper half of an f32.
fn unit_weights_mxfp4(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + unit];
  let scales = matrix[start + 8u * params.groups + unit / 8u];
  let low = nibbles & vec4u(0x0f0f0f0fu);
  let high = (nibbles >> vec4u(4u)) & vec4u(0x0f0f0f0fu);
  let even = bitcast<vec4f>(scales << vec4u(16u));
  let odd = bitcast<vec4f>(scales & vec4u(0xffff0000u));
  return array<vec4f, 8>(
    even.x * quad_of_mxfp4(low.x), odd.x * quad_of_mxfp4(high.x),
    even.y * quad_of_mxfp4(low.y), odd.y * quad_of_mxfp4(high.y),
    even.z * quad_of_mxfp4(low.z), odd.z * quad_of_mxfp4(high.z),
    even.w * quad_of_mxfp4(low.w), odd.w * quad_of_mxfp4(high.w),
  );
}

// Twice the numbers of E2M1: a sign, two bits of exponent, one of mantissa.
fn quad_of_mxfp4(bytes: u32) -> vec4f {
  let q = unpack4xU8(bytes);
  let magnitude = q & vec4u(7u);
  let exponent = max(magnitude >> vec4u(1u), vec4u(1u)) - 1u;
  let leading = select(vec4u(2u), vec4u(0u), magnitude < vec4u(2u));
  let value = vec4f((leading | (magnitude & vec4u(1u))) << exponent);
  return select(value, -value, q >= vec4u(8u));
}

// Quad j of a lane's unit.
fn quad_weights_mxfp4(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let start = row * 9u * params.groups;
  let scales = matrix[start + 8u * params.groups + group][j / 2u];
  let nibbles = matrix[start + 8u * group + lane][j / 2u];
  let q = (nibbles >> (4u * (j % 2u))) & 0x0f0f0f0fu;
  let d = bitcast<f32>(select(scales << 16u, scales & 0xffff0000u, j % 2u == 1u));
  return d * quad_of_mxfp4(q);
}
