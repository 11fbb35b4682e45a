// Pages in f16: quads of keys, [quad][position], then of values, [position][quad].
@group(0) @binding(2) var<storage, read_write> kv: array<vec2u>;

fn page_start(page: u32, head: u32) -> u32 {
  return (page * heads.kv_heads + head) * 64u * heads.quads;
}

fn key_quad(start: u32, position: u32, quad: u32) -> vec4f {
  return floats(kv[start + 32u * quad + position]);
}

fn value_quad(start: u32, position: u32, quad: u32) -> vec4f {
  return floats(kv[start + (32u + position) * heads.quads + quad]);
}

// Stores up to 32 elements of a key and a value, from quad `first` on.
fn store(start: u32, position: u32, first: u32, key: array<vec4f, 8>, value: array<vec4f, 8>) {
  var keys = key;
  var values = value;
  for (var i = 0u; i < min(8u, heads.quads - first); i++) {
    let quad = first + i;
    kv[start + 32u * quad + position] = halves(keys[i]);
    kv[start + (32u + position) * heads.quads + quad] = halves(values[i]);
  }
}

fn floats(quad: vec2u) -> vec4f {
  return vec4f(unpack2x16float(quad.x), unpack2x16float(quad.y));
}

fn halves(quad: vec4f) -> vec2u {
  return vec2u(pack2x16float(quad.xy), pack2x16float(quad.zw));
}
