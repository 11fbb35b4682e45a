// What a lane has of its rows' products and of Σ x²
struct LaneSums { rows: vec4f, squares: f32 }
var<workgroup> lane_sums: array<LaneSums, 256>;

// Adds up over the lanes of some rows, in an order that never changes; each gets the sums.
fn sum_over_lanes(own: LaneSums, lane: u32, row: u32) -> LaneSums {
  let first = row * lanes;
  lane_sums[first + lane] = own;
  for (var distance = lanes / 2u; distance > 0u; distance /= 2u) {
    workgroupBarrier();
    if (lane < distance) {
      let other = lane_sums[first + lane + distance];
      lane_sums[first + lane].rows += other.rows;
      lane_sums[first + lane].squares += other.squares;
    }
  }
  workgroupBarrier();
  return lane_sums[first];
}
