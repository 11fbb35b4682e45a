// Q6_K: weight = d · scale · (q - 32); a group is a block of the file. A row has
// planes of nibbles (a vector for each lane: two words of quads for each half of
// the block), of upper bit pairs (two words for each lane), of scales (16 bytes
// for each group) and of d (halves, eight groups to a vector).
fn unit_weights_q6_k(row: u32, unit: u32) -> array<vec4f, 8> {
  let q = unit_bytes_q6_k(row, unit);
  let s = scales_of_q6_k(row, unit);
  return array<vec4f, 8>(
    s[0].x * quad_of_q6_k(q[0]), s[0].y * quad_of_q6_k(q[1]),
    s[0].z * quad_of_q6_k(q[2]), s[0].w * quad_of_q6_k(q[3]),
    s[1].x * quad_of_q6_k(q[4]), s[1].y * quad_of_q6_k(q[5]),
    s[1].z * quad_of_q6_k(q[6]), s[1].w * quad_of_q6_k(q[7]),
  );
}

// Vectors of a row.
fn row_vectors_q6_k() -> u32 {
  return 13u * params.groups + (params.groups + 7u) / 8u;
}

// q of a lane's eight quads, a byte each.
fn unit_bytes_q6_k(row: u32, unit: u32) -> array<u32, 8> {
  let start = row * row_vectors_q6_k();
  let nibbles = matrix[start + unit];
  let two_lanes = matrix[start + 8u * params.groups + unit / 2u];
  let pairs = select(two_lanes.xy, two_lanes.zw, unit % 2u == 1u);
  return array<u32, 8>(
    bytes_from_q6_k(nibbles.x, pairs.x << 4u), bytes_from_q6_k(nibbles.y, pairs.x << 2u),
    bytes_from_q6_k(nibbles.x >> 4u, pairs.x), bytes_from_q6_k(nibbles.y >> 4u, pairs.x >> 2u),
    bytes_from_q6_k(nibbles.z, pairs.y << 4u), bytes_from_q6_k(nibbles.w, pairs.y << 2u),
    bytes_from_q6_k(nibbles.z >> 4u, pairs.y), bytes_from_q6_k(nibbles.w >> 4u, pairs.y >> 2u),
  );
}

// Low nibbles, and upper pairs of bits above those.
fn bytes_from_q6_k(nibbles: u32, pairs: u32) -> u32 {
  return (nibbles & 0x0f0f0f0fu) | (pairs & 0x30303030u);
}

// Scales of a lane's eight quads, d in them.
fn scales_of_q6_k(row: u32, unit: u32) -> array<vec4f, 2> {
  let groups = params.groups;
  let group = unit / 8u;
  let start = row * row_vectors_q6_k();
  let scales = matrix[start + 12u * groups + group];
  let halves = matrix[start + 13u * groups + group / 8u];
  let d = unpack2x16float(halves[group / 2u % 4u])[group % 2u];
  // A quad's scale is one of its 32 weights' two, by which half of them the lane is in.
  let side = unit % 8u / 4u;
  return array<vec4f, 2>(d * four_scales_q6_k(scales.xy, side), d * four_scales_q6_k(scales.zw, side));
}

// The scales of four quads: the first or the second of each pair of bytes.
fn four_scales_q6_k(bytes: vec2u, side: u32) -> vec4f {
  let low = vec4f(unpack4xI8(bytes.x));
  let high = vec4f(unpack4xI8(bytes.y));
  return select(vec4f(low.xz, high.xz), vec4f(low.yw, high.yw), side == 1u);
}

fn quad_of_q6_k(bytes: u32) -> vec4f {
  return vec4f(unpack4xU8(bytes)) - 32.0;
}

// Quad j of a lane's unit.
fn quad_weights_q6_k(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let groups = params.groups;
  let start = row * row_vectors_q6_k();
  let half = j / 4u;
  let i = j % 4u;
  let nibbles = matrix[start + 8u * group + lane][2u * half + i % 2u];
  let pairs = matrix[start + 8u * groups + 4u * group + lane / 2u][2u * (lane % 2u) + half];
  let scales = matrix[start + 12u * groups + group][j / 2u];
  let halves = matrix[start + 13u * groups + group / 8u][group / 2u % 4u];
  let scale = f32(unpack4xI8(scales)[2u * (j % 2u) + lane / 4u]);
  let d = unpack2x16float(halves)[group % 2u] * scale;
  return d * quad_of_q6_k(bytes_from_q6_k(nibbles >> (4u * (i / 2u)), (pairs >> (2u * i)) << 4u));
}
