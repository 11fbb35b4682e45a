// x += what lies in the slots: slot 0 what other places computed, the others
// the stretches of this place's neurons, always in the same order.
struct Sum {
  // Vectors of x, and of a slot, from one token to the next
  stride: u32,
}
@group(0) @binding(1) var<uniform> sum: Sum;
@group(0) @binding(2) var<storage, read> partials: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> x: array<vec4f>;

override with_upload: bool = false;
override with_stretches: bool = false;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let length = step[token_count] * sum.stride;
  if (id.x >= length) { return; }
  let end = select(1u, 1u + step[stretch_count], with_stretches);
  var total = x[id.x];
  for (var slot = select(1u, 0u, with_upload); slot < end; slot++) {
    total += partials[slot * length + id.x];
  }
  x[id.x] = total;
}
