// Pages in q8_0: quads of keys, [quad][position], then of values,
// [position][quad], as bytes; then the scales of each 32 of them,
// [position][block]: a pair of halves, the key's and the value's.

fn page_start(page: u32, head: u32) -> u32 {
  return (page * params.kv_heads + head) * 68u * params.quads;
}

fn key_quad(start: u32, position: u32, quad: u32) -> vec4f {
  let scale = unpack2x16float(kv[scale_at(start, position, quad)]).x;
  return scale * vec4f(unpack4xI8(kv[start + 32u * quad + position]));
}

fn value_quad(start: u32, position: u32, quad: u32) -> vec4f {
  let scale = unpack2x16float(kv[scale_at(start, position, quad)]).y;
  return scale * vec4f(unpack4xI8(kv[start + (32u + position) * params.quads + quad]));
}

// Stores a quad of a key and of a value, where it is one; `index` is that of the
// invocation, and eight neighbours have the quads of a block.
fn store(
  is_stored: bool, start: u32, position: u32, quad: u32, key: vec4f, value: vec4f, index: u32,
) {
  largest[index] = vec2f(largest_of(key), largest_of(value));
  workgroupBarrier();
  let first = index / 8u * 8u;
  let scale = max(
    max(max(largest[first], largest[first + 1u]), max(largest[first + 2u], largest[first + 3u])),
    max(max(largest[first + 4u], largest[first + 5u]), max(largest[first + 6u], largest[first + 7u])),
  ) / 127.0;
  if (!is_stored) { return; }
  kv[start + 32u * quad + position] = bytes(key, scale.x);
  kv[start + (32u + position) * params.quads + quad] = bytes(value, scale.y);
  if (quad % 8u == 0u) { kv[scale_at(start, position, quad)] = pack2x16float(scale); }
}

// The largest magnitudes of the invocations' keys and values; a block's becomes 127.
var<workgroup> largest: array<vec2f, 64>;

fn largest_of(quad: vec4f) -> f32 {
  let v = abs(quad);
  return max(max(v.x, v.y), max(v.z, v.w));
}

fn scale_at(start: u32, position: u32, quad: u32) -> u32 {
  return start + 64u * params.quads + position * (params.quads / 8u) + quad / 8u;
}

// Rounded to the nearest, halves away from zero, as ggml rounds.
fn bytes(quad: vec4f, scale: f32) -> u32 {
  let unit = select(0.0, 1.0 / scale, scale > 0.0);
  let scaled = quad * unit;
  return pack4xI8(vec4i(sign(scaled) * floor(abs(scaled) + 0.5)));
}
