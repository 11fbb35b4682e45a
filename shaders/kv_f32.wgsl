// Quads of keys and values in f32.

fn unpacked(quad: vec4f) -> vec4f {
  return quad;
}

fn packed(quad: vec4f) -> vec4f {
  return quad;
}
