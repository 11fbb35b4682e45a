// F32: 256 weights are 64 vectors, in the file's order.
fn unit_weights_f32(row: u32, unit: u32) -> array<vec4f, 8> {
  let first = 64u * (row * params.groups + unit / 8u) + unit % 8u;
  return array<vec4f, 8>(
    bitcast<vec4f>(matrix[first]),
    bitcast<vec4f>(matrix[first + 8u]),
    bitcast<vec4f>(matrix[first + 16u]),
    bitcast<vec4f>(matrix[first + 24u]),
    bitcast<vec4f>(matrix[first + 32u]),
    bitcast<vec4f>(matrix[first + 40u]),
    bitcast<vec4f>(matrix[first + 48u]),
    bitcast<vec4f>(matrix[first + 56u]),
  );
}

// Quad j of a lane's unit.
fn quad_weights_f32(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  return bitcast<vec4f>(matrix[64u * (row * params.groups + group) + 8u * j + lane]);
}
