// Pages whose quads are stored one by one, as `packed` makes them: of keys,
// [quad][position], then of values, [position][quad].
fn page_start(page: u32, head: u32) -> u32 {
  return (page * heads.kv_heads + head) * 64u * heads.quads;
}

fn key_quad(start: u32, position: u32, quad: u32) -> vec4f {
  return unpacked(kv[start + 32u * quad + position]);
}

fn value_quad(start: u32, position: u32, quad: u32) -> vec4f {
  return unpacked(kv[start + (32u + position) * heads.quads + quad]);
}

// Stores up to 32 elements of a key and a value, from quad `first` on.
fn store(start: u32, position: u32, first: u32, key: array<vec4f, 8>, value: array<vec4f, 8>) {
  var keys = key;
  var values = value;
  for (var i = 0u; i < min(8u, heads.quads - first); i++) {
    let quad = first + i;
    kv[start + 32u * quad + position] = packed(keys[i]);
    kv[start + (32u + position) * heads.quads + quad] = packed(values[i]);
  }
}
