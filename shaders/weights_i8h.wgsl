// I8H: weight = scale · q, a scale for 16 weights: what the types without a layout
// of their own become. A row has a plane of q (as in Q8_0) and one of scales, 16
// f32 for each group: of its quads for lanes 0 to 3, then for lanes 4 to 7.
fn unit_weights_i8h(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 20u * params.groups;
  let first = start + 16u * (unit / 8u) + unit % 8u;
  let a = matrix[first];
  let b = matrix[first + 8u];
  let scales = start + 16u * params.groups + unit / 8u * 4u + unit % 8u / 4u * 2u;
  let s = bitcast<vec4f>(matrix[scales]);
  let t = bitcast<vec4f>(matrix[scales + 1u]);
  return array<vec4f, 8>(
    s.x * quad_of_i8h(a.x), s.y * quad_of_i8h(a.y),
    s.z * quad_of_i8h(a.z), s.w * quad_of_i8h(a.w),
    t.x * quad_of_i8h(b.x), t.y * quad_of_i8h(b.y),
    t.z * quad_of_i8h(b.z), t.w * quad_of_i8h(b.w),
  );
}

fn quad_of_i8h(bytes: u32) -> vec4f {
  return vec4f(unpack4xI8(bytes));
}

// Quad j of a lane's unit.
fn quad_weights_i8h(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let start = row * 20u * params.groups;
  let scales = start + 16u * params.groups + 4u * group + lane / 4u * 2u;
  let bytes = matrix[start + 16u * group + 8u * (j / 4u) + lane][j % 4u];
  return bitcast<f32>(matrix[scales + j / 4u][j % 4u]) * quad_of_i8h(bytes);
}
