// Quads of keys and values in f32.
@group(0) @binding(2) var<storage, read_write> kv: array<vec4f>;

fn unpacked(quad: vec4f) -> vec4f {
  return quad;
}

fn packed(quad: vec4f) -> vec4f {
  return quad;
}
