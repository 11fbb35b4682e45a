// Pages in q8_0: quads of keys, [quad][position], then of values,
// [position][quad], as bytes; then the scales of each 32 of them,
// [position][block]: a pair of halves, the key's and the value's.
@group(0) @binding(2) var<storage, read_write> kv: array<u32>;

fn page_start(page: u32, head: u32) -> u32 {
  return (page * heads.kv_heads + head) * 68u * heads.quads;
}

fn key_quad(start: u32, position: u32, quad: u32) -> vec4f {
  let scale = unpack2x16float(kv[scale_at(start, position, quad)]).x;
  return scale * vec4f(unpack4xI8(kv[start + 32u * quad + position]));
}

fn value_quad(start: u32, position: u32, quad: u32) -> vec4f {
  let scale = unpack2x16float(kv[scale_at(start, position, quad)]).y;
  return scale * vec4f(unpack4xI8(kv[start + (32u + position) * heads.quads + quad]));
}

// Stores 32 elements of a key and a value, from quad `first` on.
fn store(start: u32, position: u32, first: u32, key: array<vec4f, 8>, value: array<vec4f, 8>) {
  var keys = key;
  var values = value;
  let key_scale = scale_of(key);
  let value_scale = scale_of(value);
  for (var i = 0u; i < 8u; i++) {
    let quad = first + i;
    kv[start + 32u * quad + position] = bytes(keys[i], key_scale);
    kv[start + (32u + position) * heads.quads + quad] = bytes(values[i], value_scale);
  }
  kv[scale_at(start, position, first)] = pack2x16float(vec2f(key_scale, value_scale));
}

fn scale_at(start: u32, position: u32, quad: u32) -> u32 {
  return start + 64u * heads.quads + position * (heads.quads / 8u) + quad / 8u;
}

// The largest magnitude becomes 127.
fn scale_of(block: array<vec4f, 8>) -> f32 {
  var quads = block;
  var largest = vec4f();
  for (var i = 0u; i < 8u; i++) { largest = max(largest, abs(quads[i])); }
  return max(max(largest.x, largest.y), max(largest.z, largest.w)) / 127.0;
}

// Rounded to the nearest, halves away from zero, as ggml rounds.
fn bytes(quad: vec4f, scale: f32) -> u32 {
  let unit = select(0.0, 1.0 / scale, scale > 0.0);
  let scaled = quad * unit;
  return pack4xI8(vec4i(sign(scaled) * floor(abs(scaled) + 0.5)));
}
