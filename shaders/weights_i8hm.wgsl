// I8HM: weight = scale · q + minimum, as I8H with a plane of minimums behind the
// scales, laid out as these.
fn unit_weights_i8hm(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 24u * params.groups;
  let first = start + 16u * (unit / 8u) + unit % 8u;
  let a = matrix[first];
  let b = matrix[first + 8u];
  let scales = start + 16u * params.groups + unit / 8u * 4u + unit % 8u / 4u * 2u;
  let s = bitcast<vec4f>(matrix[scales]);
  let t = bitcast<vec4f>(matrix[scales + 1u]);
  let m = bitcast<vec4f>(matrix[scales + 4u * params.groups]);
  let n = bitcast<vec4f>(matrix[scales + 4u * params.groups + 1u]);
  return array<vec4f, 8>(
    s.x * quad_of_i8hm(a.x) + m.x, s.y * quad_of_i8hm(a.y) + m.y,
    s.z * quad_of_i8hm(a.z) + m.z, s.w * quad_of_i8hm(a.w) + m.w,
    t.x * quad_of_i8hm(b.x) + n.x, t.y * quad_of_i8hm(b.y) + n.y,
    t.z * quad_of_i8hm(b.z) + n.z, t.w * quad_of_i8hm(b.w) + n.w,
  );
}

fn quad_of_i8hm(bytes: u32) -> vec4f {
  return vec4f(unpack4xI8(bytes));
}

// Quad j of a lane's unit.
fn quad_weights_i8hm(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let start = row * 24u * params.groups;
  let scales = start + 16u * params.groups + 4u * group + lane / 4u * 2u + j / 4u;
  let bytes = matrix[start + 16u * group + 8u * (j / 4u) + lane][j % 4u];
  let scale = bitcast<f32>(matrix[scales][j % 4u]);
  let minimum = bitcast<f32>(matrix[scales + 4u * params.groups][j % 4u]);
  return scale * quad_of_i8hm(bytes) + minimum;
}
