var<workgroup> lane_sums: array<vec2f, 256>;

// Adds up over the lanes of a row, in an order that never changes; lane 0 gets the sum.
fn sum_over_lanes(value: vec2f, lane: u32, row: u32) -> vec2f {
  let at = row * lanes + lane;
  lane_sums[at] = value;
  for (var distance = lanes / 2u; distance > 0u; distance /= 2u) {
    workgroupBarrier();
    if (lane < distance) { lane_sums[at] += lane_sums[at + distance]; }
  }
  return lane_sums[at];
}
