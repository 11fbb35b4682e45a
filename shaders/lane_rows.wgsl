// The rows of an invocation where a row's lanes share it: those that follow one
// another, or, where `paired`, of each neuron that of gate and that of up.

// The first of them
fn lane_row(group: u32, id: u32) -> u32 {
  return (group * rows + id) * select(rows_each, rows_each / 2u, paired);
}

// What is added to the number of the first for each of four.
fn row_steps() -> vec4u {
  return select(
    vec4u(0u, 1u, 2u, 3u),
    vec4u(0u, params.up_first, 1u, params.up_first + 1u),
    paired,
  );
}

// Results of one token, a lane for each.
fn finish_lane(token: u32, row: u32, lane: u32, sums: vec4f, squares: f32) {
  if (paired) {
    if (lane < rows_each / 2u) {
      finish_neuron(token, row + lane, sums[2u * lane], sums[2u * lane + 1u], squares);
    }
  } else if (lane < rows_each) {
    finish(token, row + lane, sums[lane], squares);
  }
}
