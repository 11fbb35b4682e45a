// Adds up over the lanes of a row, which are neighbours in one subgroup.
fn sum_over_lanes(value: vec2f, lane: u32, row: u32) -> vec2f {
  var sum = value;
  for (var distance = lanes / 2u; distance > 0u; distance /= 2u) {
    sum += subgroupShuffleXor(sum, distance);
  }
  return sum;
}
