// x += bias; y is the token. Where there are experts, each that it chose has a bias.
@compute @workgroup_size(threads)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.columns) { return; }
  var sum = 0.0;
  if (routed) {
    for (var slot = 0u; slot < params.slots; slot++) {
      let at = chosen_expert(id.y, slot) * params.columns + id.x;
      sum += expert_weight(id.y, slot) * bias[at];
    }
  } else {
    sum = bias[id.x];
  }
  x[id.y * params.stride + id.x] += sum;
}
