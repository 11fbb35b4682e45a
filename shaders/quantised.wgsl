// x as integers: 32 of its numbers, normed, are a block, which has a scale and bytes,
// so that a unit's product with it is a dot product of bytes.

// A block: its bytes, and (scale, scale · Σ q of each half, Σ x²)
struct Block { low: vec4u, high: vec4u, by: vec4f }

// The block of x from vector `at` on, whose first column is that of vector `column`.
fn block_of(at: u32, column: u32) -> Block {
  var a = x[at];
  var b = x[at + 1u];
  var c = x[at + 2u];
  var d = x[at + 3u];
  var e = x[at + 4u];
  var f = x[at + 5u];
  var g = x[at + 6u];
  var h = x[at + 7u];
  var squares = 0.0;
  if (normed) {
    squares = dot(a, a) + dot(b, b) + dot(c, c) + dot(d, d) + dot(e, e) + dot(f, f) + dot(g, g) + dot(h, h);
    a *= norm[column];
    b *= norm[column + 1u];
    c *= norm[column + 2u];
    d *= norm[column + 3u];
    e *= norm[column + 4u];
    f *= norm[column + 5u];
    g *= norm[column + 6u];
    h *= norm[column + 7u];
  }
  // Bits of floats without a sign order as these do, and those of NaN come last.
  let most = max(
    max(max(bits_of_size(a), bits_of_size(b)), max(bits_of_size(c), bits_of_size(d))),
    max(max(bits_of_size(e), bits_of_size(f)), max(bits_of_size(g), bits_of_size(h))),
  );
  let largest = bitcast<f32>(max(max(most.x, most.y), max(most.z, most.w)));
  // Below this its inverse overflows.
  let is_zero = largest < 1e-36;
  let scale = select(largest / 127.0, 0.0, is_zero);
  let inverse = select(127.0 / largest, 0.0, is_zero);
  let low = vec4u(bytes_of(inverse * a), bytes_of(inverse * b), bytes_of(inverse * c), bytes_of(inverse * d));
  let high = vec4u(bytes_of(inverse * e), bytes_of(inverse * f), bytes_of(inverse * g), bytes_of(inverse * h));
  let ones = vec4u(0x01010101u);
  let sums = scale * vec2f(f32(dot_bytes(low, ones)), f32(dot_bytes(high, ones)));
  return Block(low, high, vec4f(scale, sums, squares));
}

fn bits_of_size(v: vec4f) -> vec4u {
  return bitcast<vec4u>(v) & vec4u(0x7fffffffu);
}

fn bytes_of(v: vec4f) -> u32 {
  return pack4xI8(vec4i(round(v)));
}

fn dot_bytes(a: vec4u, b: vec4u) -> i32 {
  return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) +
    dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

// A unit times a block; `halves` says whether the unit's halves have scales of their own.
fn dot_block(unit: Integers, block: Block, halves: bool) -> f32 {
  let low = dot_bytes(unit.low, block.low);
  let high = dot_bytes(unit.high, block.high);
  if (halves) {
    return block.by.x * dot(unit.scales, vec2f(f32(low), f32(high))) + dot(unit.minimums, block.by.yz);
  }
  return block.by.x * unit.scales.x * f32(low + high) + unit.minimums.x * (block.by.y + block.by.z);
}
