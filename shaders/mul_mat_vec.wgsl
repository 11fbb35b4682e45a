// out[row] = matrix[row] · x of one token, or of one (y) and its experts. The workgroup has `lanes` invocations
// for `rows` times `rows_each` rows: lanes read neighbouring vectors of a row, and
// each uses what it has read of x for `rows_each` rows: 4, or 1 where rows are masked.
var<workgroup> lane_sums: array<vec4f, 256>;

@compute @workgroup_size(lanes, rows)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) id: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let token = group.y;
  if (route == route_each && !is_here(token)) { return; }
  let row = lane_row(group.x, id.y);
  var sums = vec4f();
  var squares = 0.0;
  if (is_read(token, row)) {
    if (route == route_sum) {
      let first = token * params.slots;
      for (var choice = first; choice < first + params.slots; choice++) {
        if (is_here(choice)) { add_x(choice, row, id.x, &sums, &squares); }
      }
    } else {
      add_x(token, row, id.x, &sums, &squares);
    }
  }
  let total = sum_over_lanes(sums, id.x, id.y);
  if (normed) { squares = sum_over_lanes(vec4f(squares), id.x, id.y).x; }
  finish_lane(token, row, id.x, total, squares);
  add_counts(index);
}

// Adds a lane's products of the x of a token, or a choice, with the rows from `first_row` on.
fn add_x(token: u32, first_row: u32, lane: u32, sums: ptr<function, vec4f>, squares: ptr<function, f32>) {
  let x_at = x_first(token);
  let row = first_row + expert_row(token);
  for (var unit = lane; unit < 8u * params.groups; unit += lanes) {
    let first = 64u * (unit / 8u) + unit % 8u;
    var v = unit_of_x(x_at + first);
    if (normed) {
      *squares += dot_units(v, v);
      v = normed_unit(v, first);
    }
    *sums += dot_rows(row, unit, v);
  }
}

// Whether the invocation's rows are read: of several all are, or none.
fn is_read(token: u32, row: u32) -> bool {
  if (paired) { return row < params.rows; }
  return is_computed(token, row);
}

fn unit_of_x(at: u32) -> array<vec4f, 8> {
  return array<vec4f, 8>(
    x[at], x[at + 8u], x[at + 16u], x[at + 24u],
    x[at + 32u], x[at + 40u], x[at + 48u], x[at + 56u],
  );
}

fn normed_unit(v: array<vec4f, 8>, at: u32) -> array<vec4f, 8> {
  return array<vec4f, 8>(
    v[0] * norm[at], v[1] * norm[at + 8u],
    v[2] * norm[at + 16u], v[3] * norm[at + 24u],
    v[4] * norm[at + 32u], v[5] * norm[at + 40u],
    v[6] * norm[at + 48u], v[7] * norm[at + 56u],
  );
}

fn dot_units(a: array<vec4f, 8>, b: array<vec4f, 8>) -> f32 {
  return dot(a[0], b[0]) + dot(a[1], b[1]) + dot(a[2], b[2]) + dot(a[3], b[3]) +
    dot(a[4], b[4]) + dot(a[5], b[5]) + dot(a[6], b[6]) + dot(a[7], b[7]);
}
