// What a lane has of its rows' products and of Σ x²
struct LaneSums { rows: vec4f, squares: f32 }

// Adds up over the lanes of some rows, which are neighbours in one subgroup.
fn sum_over_lanes(own: LaneSums, lane: u32, row: u32) -> LaneSums {
  var sums = own;
  for (var distance = lanes / 2u; distance > 0u; distance /= 2u) {
    sums.rows += subgroupShuffleXor(sums.rows, distance);
    sums.squares += subgroupShuffleXor(sums.squares, distance);
  }
  return sums;
}
