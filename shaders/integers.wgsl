// Types whose weights are integers of at most eight bits. A "unit" of a row is 32
// of them that follow one another: weight = scale · q + minimum, with a scale and
// a minimum for each half.
struct Integers {
  // Four bytes of q in a word, signed: of the first half, and of the second
  low: vec4u,
  high: vec4u,
  scales: vec2f,
  minimums: vec2f,
}

// Where quad j of a unit lies among the quads of x.
fn quad_at(unit: u32, j: u32) -> u32 {
  return 8u * unit + j;
}

fn weights_of(u: Integers) -> array<vec4f, 8> {
  return array<vec4f, 8>(
    quad_of(u.low.x, u.scales.x, u.minimums.x), quad_of(u.low.y, u.scales.x, u.minimums.x),
    quad_of(u.low.z, u.scales.x, u.minimums.x), quad_of(u.low.w, u.scales.x, u.minimums.x),
    quad_of(u.high.x, u.scales.y, u.minimums.y), quad_of(u.high.y, u.scales.y, u.minimums.y),
    quad_of(u.high.z, u.scales.y, u.minimums.y), quad_of(u.high.w, u.scales.y, u.minimums.y),
  );
}

fn quad_of(bytes: u32, scale: f32, minimum: f32) -> vec4f {
  return scale * vec4f(unpack4xI8(bytes)) + minimum;
}

fn low_nibbles(words: vec4u) -> vec4u {
  return words & vec4u(0x0f0f0f0fu);
}

fn high_nibbles(words: vec4u) -> vec4u {
  return (words >> vec4u(4u)) & vec4u(0x0f0f0f0fu);
}

// Half number `i` of a plane of them.
fn half_at(plane: u32, i: u32) -> f32 {
  return unpack2x16float(matrix[plane + i / 8u][i / 2u % 4u] >> (16u * (i % 2u))).x;
}
