// Where attention leaves a head's result.
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
// Of each token, head and split: Σ weight · value, then (the highest score, Σ weight)
@group(0) @binding(5) var<storage, read_write> parts: array<vec4f>;

// Below every score
const lowest = -3.0e38;

fn part_at(token: u32, head: u32, split: u32) -> u32 {
  return ((token * heads.heads + head) * step[split_count] + split) * (heads.quads + 1u);
}

// Stores a quad of a head's result; zeros follow the last head.
fn put_attended(token: u32, head: u32, quad: u32, value: vec4f) {
  let out_at = token * heads.out_stride;
  for (var i = 0u; i < 4u; i++) {
    let e = 4u * quad + i;
    if (e < heads.head_size) { out[out_at + head * heads.head_size + e] = value[i]; }
  }
  if (head == heads.heads - 1u) {
    let end = heads.heads * heads.head_size;
    for (var e = end + quad; e < heads.out_padded; e += heads.quads) { out[out_at + e] = 0.0; }
  }
}
