// Adds up over the lanes of some rows, which are neighbours in one subgroup.
fn sum_over_lanes(own: vec4f, lane: u32, row: u32) -> vec4f {
  var sum = own;
  for (var distance = lanes / 2u; distance > 0u; distance /= 2u) {
    sum += subgroupShuffleXor(sum, distance);
  }
  return sum;
}
