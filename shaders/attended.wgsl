// Where attention leaves a head's result.

// Below every score
const lowest = -3.0e38;

fn split_at(token: u32, head: u32, split: u32) -> u32 {
  return ((token * params.heads + head) * step[split_count] + split) * (params.quads + 1u);
}

// Stores a quad of a head's result; zeros follow the last head.
fn put_attended(token: u32, head: u32, quad: u32, value: vec4f) {
  let out_at = token * params.out_stride;
  for (var i = 0u; i < 4u; i++) {
    let e = 4u * quad + i;
    if (e < params.head_size) { out[out_at + head * params.head_size + e] = value[i]; }
  }
  if (head == params.heads - 1u) {
    let end = params.heads * params.head_size;
    for (var e = end + quad; e < params.out_padded; e += params.quads) { out[out_at + e] = 0.0; }
  }
}
