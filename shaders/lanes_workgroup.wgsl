// Adds up over the lanes of some rows, in an order that never changes; each gets the
// sum. A kernel that has room for so many vectors calls it `lane_sums`.
fn sum_over_lanes(own: vec4f, lane: u32, row: u32) -> vec4f {
  let first = row * lanes;
  workgroupBarrier();
  lane_sums[first + lane] = own;
  for (var distance = lanes / 2u; distance > 0u; distance /= 2u) {
    workgroupBarrier();
    if (lane < distance) { lane_sums[first + lane] += lane_sums[first + lane + distance]; }
  }
  workgroupBarrier();
  return lane_sums[first];
}
