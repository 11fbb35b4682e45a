// Sets every |h| of a token that is not above its threshold to zero; y is the token,
// or its choice, where it chose several experts.
@compute @workgroup_size(threads)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.length) { return; }
  let at = id.y * params.stride + id.x;
  if (abs(h[at]) <= thresholds[id.y / params.slots]) { h[at] = 0.0; }
}
