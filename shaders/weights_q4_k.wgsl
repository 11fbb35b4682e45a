// Q4_K: weight = d · scale · q - dmin · minimum; a group is a block of the file.
// A row has a plane of nibbles (as in Q4_0) and a plane of the blocks' heads, as
// the file has them: d and dmin as halves, then 12 bytes of 6-bit scales and
// minimums, one of each for every quad of a lane.
fn unit_weights_q4_k(row: u32, unit: u32) -> array<vec4f, 8> {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + unit];
  let low = nibbles & vec4u(0x0f0f0f0fu);
  let high = (nibbles >> vec4u(4u)) & vec4u(0x0f0f0f0fu);
  let by = scales_of_q4_k(matrix[start + 8u * params.groups + unit / 8u]);
  let s = by.scales;
  let m = by.minimums;
  return array<vec4f, 8>(
    s[0].x * quad_of_q4_k(low.x) - m[0].x, s[0].y * quad_of_q4_k(high.x) - m[0].y,
    s[0].z * quad_of_q4_k(low.y) - m[0].z, s[0].w * quad_of_q4_k(high.y) - m[0].w,
    s[1].x * quad_of_q4_k(low.z) - m[1].x, s[1].y * quad_of_q4_k(high.z) - m[1].y,
    s[1].z * quad_of_q4_k(low.w) - m[1].z, s[1].w * quad_of_q4_k(high.w) - m[1].w,
  );
}

// Scales_q4_k and minimums of a lane's eight quads
struct Scales_q4_k { scales: array<vec4f, 2>, minimums: array<vec4f, 2> }

fn scales_of_q4_k(head: vec4u) -> Scales_q4_k {
  let d = unpack2x16float(head.x);
  // Scales_q4_k and minimums 0 to 3 are whole; 4 to 7 have their upper two bits above those.
  let upper = (head.yz >> vec2u(2u)) & vec2u(0x30303030u);
  return Scales_q4_k(
    array<vec4f, 2>(
      d.x * quad_of_q4_k(head.y & 0x3f3f3f3fu),
      d.x * quad_of_q4_k((head.w & 0x0f0f0f0fu) | upper.x),
    ),
    array<vec4f, 2>(
      d.y * quad_of_q4_k(head.z & 0x3f3f3f3fu),
      d.y * quad_of_q4_k(((head.w >> 4u) & 0x0f0f0f0fu) | upper.y),
    ),
  );
}

fn quad_of_q4_k(bytes: u32) -> vec4f {
  return vec4f(unpack4xU8(bytes));
}

// Quad j of a lane's unit.
fn quad_weights_q4_k(row: u32, group: u32, lane: u32, j: u32) -> vec4f {
  let start = row * 9u * params.groups;
  let nibbles = matrix[start + 8u * group + lane][j / 2u];
  let head = matrix[start + 8u * params.groups + group];
  let shift = 8u * (j % 4u);
  var scale = (head.y >> shift) & 0x3fu;
  var minimum = (head.z >> shift) & 0x3fu;
  if (j >= 4u) {
    let upper = (head.yz >> vec2u(shift + 2u)) & vec2u(0x30u);
    scale = ((head.w >> shift) & 0x0fu) | upper.x;
    minimum = ((head.w >> (shift + 4u)) & 0x0fu) | upper.y;
  }
  let d = unpack2x16float(head.x) * vec2f(f32(scale), f32(minimum));
  let q = (nibbles >> (4u * (j % 2u))) & 0x0f0f0f0fu;
  return d.x * quad_of_q4_k(q) - d.y;
}
