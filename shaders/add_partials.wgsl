// x += what lies in the slots: slot 0 what other places computed, the others
// the stretches of this place's neurons, always in the same order. A workgroup
// has `vectors` of x, and `members` for each of them, which share the slots.
var<workgroup> sums: array<vec4f, vectors * members>;

@compute @workgroup_size(vectors, members)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) id: vec3u,
) {
  let length = step[token_count] * params.stride;
  let end = select(1u, 1u + step[stretch_count], with_stretches);
  let at = group.x * vectors + id.x;
  var total = vec4f();
  if (at < length) {
    for (var slot = select(1u, 0u, with_upload) + id.y; slot < end; slot += members) {
      total += partials[slot * length + at];
    }
  }
  sums[id.y * vectors + id.x] = total;
  workgroupBarrier();
  if (id.y > 0u || at >= length) { return; }
  total = x[at];
  for (var member = 0u; member < members; member++) {
    total += sums[member * vectors + id.x];
  }
  x[at] = total;
}
