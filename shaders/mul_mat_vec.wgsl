// out[row] = matrix[row] · x of one token. The workgroup is `rows` rows, `lanes`
// invocations for each: lanes read neighbouring vectors of a row.
override lanes: u32 = 8;
override rows: u32 = 32;
const counter_set = 0u;

@compute @workgroup_size(lanes, rows)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) id: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let row = group.x * rows + id.y;
  let x_at = x_first(0u);
  var sum = 0.0;
  var squares = 0.0;
  if (is_asked(0u, row)) {
    for (var unit = id.x; unit < 8u * product.groups; unit += lanes) {
      let first = 64u * (unit / 8u) + unit % 8u;
      var weights = unit_weights(row, unit);
      for (var j = 0u; j < 8u; j++) {
        var v = x[x_at + first + 8u * j];
        if (normed) {
          squares += dot(v, v);
          v *= norm[first + 8u * j];
        }
        sum += dot(weights[j], v);
      }
    }
  }
  let sums = sum_over_lanes(vec2f(sum, squares), id.x, id.y);
  if (id.x == 0u) { finish(0u, row, sums.x, sums.y); }
  add_counts(index);
}
