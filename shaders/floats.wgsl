// Types whose weights are floats. A "unit" of a row is 32 weights: of a group of 256
// columns, each lane has every eighth quad.

// Where quad j of a unit lies among the quads of x.
fn quad_at(unit: u32, j: u32) -> u32 {
  return 64u * (unit / 8u) + unit % 8u + 8u * j;
}
