// The table of IQ4_NL and IQ4_XS for the nibble in each byte, bit by bit: a table
// that invocations index lies in memory.
fn iq4_bytes(q: vec4u) -> vec4u {
  let m = bits_as_bytes(q);
  let n = bits_as_bytes(q >> vec4u(1u));
  let below = mix_bytes(
    mix_bytes(mix_bytes(vec4u(0x81818181u), vec4u(0x98989898u), m), mix_bytes(vec4u(0xadadadadu), vec4u(0xbfbfbfbfu), m), n),
    mix_bytes(mix_bytes(vec4u(0xcfcfcfcfu), vec4u(0xddddddddu), m), mix_bytes(vec4u(0xeaeaeaeau), vec4u(0xf6f6f6f6u), m), n),
    bits_as_bytes(q >> vec4u(2u)),
  );
  let above = mix_bytes(
    mix_bytes(mix_bytes(vec4u(0x01010101u), vec4u(0x0d0d0d0du), m), mix_bytes(vec4u(0x19191919u), vec4u(0x26262626u), m), n),
    mix_bytes(mix_bytes(vec4u(0x35353535u), vec4u(0x45454545u), m), mix_bytes(vec4u(0x59595959u), vec4u(0x71717171u), m), n),
    bits_as_bytes(q >> vec4u(2u)),
  );
  return mix_bytes(below, above, bits_as_bytes(q >> vec4u(3u)));
}

// All bits of a byte, where its lowest one is set.
fn bits_as_bytes(q: vec4u) -> vec4u {
  return (q & vec4u(0x01010101u)) * vec4u(255u);
}

fn mix_bytes(a: vec4u, b: vec4u, mask: vec4u) -> vec4u {
  return (a & ~mask) | (b & mask);
}
