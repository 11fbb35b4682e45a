// F16: a lane's four vectors of 8 halves, each a pair of quads (2i, 2i + 1).
fn unit_weights_f16(row: u32, unit: u32) -> array<vec4f, 8> {
  let first = 32u * (row * params.groups + unit / 8u) + unit % 8u;
  let a = matrix[first];
  let b = matrix[first + 8u];
  let c = matrix[first + 16u];
  let d = matrix[first + 24u];
  return array<vec4f, 8>(
    quad_of_f16(a.xy), quad_of_f16(a.zw),
    quad_of_f16(b.xy), quad_of_f16(b.zw),
    quad_of_f16(c.xy), quad_of_f16(c.zw),
    quad_of_f16(d.xy), quad_of_f16(d.zw),
  );
}

fn quad_of_f16(halves: vec2u) -> vec4f {
  return vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y));
}

// Quad j of a lane's unit.
fn quad_weights_f16(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let at = 32u * (row * params.groups + group) + 8u * (j / 2u) + lane;
  let first = 2u * (j % 2u);
  return quad_of_f16(vec2u(matrix[at][first], matrix[at][first + 1u]));
}
