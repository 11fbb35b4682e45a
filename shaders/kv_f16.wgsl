// Quads of keys and values in f16.

fn unpacked(quad: vec2u) -> vec4f {
  return vec4f(unpack2x16float(quad.x), unpack2x16float(quad.y));
}

fn packed(quad: vec4f) -> vec2u {
  return vec2u(pack2x16float(quad.xy), pack2x16float(quad.zw));
}
