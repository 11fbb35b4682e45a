// The result of one query head and one token from those of its splits.

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let head = group.x;
  let token = group.y;
  var highest = lowest;
  for (var split = 0u; split < step[split_count]; split++) {
    highest = max(highest, splits[split_at(token, head, split) + params.quads].x);
  }
  for (var quad = index; quad < params.quads; quad += 64u) {
    var sum = vec4f();
    var total = 0.0;
    for (var split = 0u; split < step[split_count]; split++) {
      let at = split_at(token, head, split);
      let end = splits[at + params.quads];
      let decay = exp(end.x - highest);
      sum += decay * splits[at + quad];
      total += decay * end.y;
    }
    put_attended(token, head, quad, sum / total);
  }
}
