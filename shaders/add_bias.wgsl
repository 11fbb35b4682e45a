// x += bias; y is the token.
@compute @workgroup_size(threads)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.stride) { return; }
  x[id.y * params.stride + id.x] += bias[id.x];
}
