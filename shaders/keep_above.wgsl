// Sets every |h| of a token that is not above its threshold to zero; y is the token.
struct Keep {
  // Floats of h that a token has, and from one token to the next
  length: u32,
  stride: u32,
}
@group(0) @binding(1) var<uniform> keep: Keep;
@group(0) @binding(2) var<storage, read> thresholds: array<f32>;
@group(0) @binding(3) var<storage, read_write> h: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= keep.length) { return; }
  let at = id.y * keep.stride + id.x;
  if (abs(h[at]) <= thresholds[id.y]) { h[at] = 0.0; }
}
