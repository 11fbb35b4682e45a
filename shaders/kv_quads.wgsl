// Pages whose quads are stored one by one, as `packed` makes them: of keys,
// [quad][position], then of values, [position][quad].
fn page_start(page: u32, head: u32) -> u32 {
  return (page * params.kv_heads + head) * 64u * params.quads;
}

fn key_quad(start: u32, position: u32, quad: u32) -> vec4f {
  return unpacked(kv[start + 32u * quad + position]);
}

fn value_quad(start: u32, position: u32, quad: u32) -> vec4f {
  return unpacked(kv[start + (32u + position) * params.quads + quad]);
}

// Stores a quad of a key and of a value, where it is one.
fn store(
  is_stored: bool, start: u32, position: u32, quad: u32, key: vec4f, value: vec4f, index: u32,
) {
  if (!is_stored || quad >= params.quads) { return; }
  kv[start + 32u * quad + position] = packed(key);
  kv[start + (32u + position) * params.quads + quad] = packed(value);
}
