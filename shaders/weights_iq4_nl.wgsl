// IQ4_NL: weight = d · table[q]. A row is laid out as one of Q4_0.
fn unit_weights_iq4_nl(row: u32, unit: u32) -> array<vec4f, 8> {
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
    d01.x * quad_of_iq4_nl(low.x), d01.y * quad_of_iq4_nl(high.x),
    d23.x * quad_of_iq4_nl(low.y), d23.y * quad_of_iq4_nl(high.y),
    d45.x * quad_of_iq4_nl(low.z), d45.y * quad_of_iq4_nl(high.z),
    d67.x * quad_of_iq4_nl(low.w), d67.y * quad_of_iq4_nl(high.w),
  );
}

// The table's numbers, from -127 to 113: a polynomial that comes within 0.39 of
// each is rounded. A table that invocations index lies in memory.
fn quad_of_iq4_nl(bytes: u32) -> vec4f {
  let x = vec4f(unpack4xU8(bytes)) - 7.5;
  return round(((((0.000145 * x + 0.00108) * x + 0.0698) * x - 0.113) * x + 11.616) * x - 4.42);
}

// Quad j of a lane's unit.
fn quad_weights_iq4_nl(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let start = row * 9u * params.groups;
  let scales = matrix[start + 8u * params.groups + group][j / 2u];
  let nibbles = matrix[start + 8u * group + lane][j / 2u];
  let q = (nibbles >> (4u * (j % 2u))) & 0x0f0f0f0fu;
  return unpack2x16float(scales)[j % 2u] * quad_of_iq4_nl(q);
}
