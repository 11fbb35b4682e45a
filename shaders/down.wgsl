// What the two kernels of a down matrix that has a row for each neuron share:
// both read only the rows of neurons whose h is not zero.

fn h_of(token: u32, row: u32) -> f32 {
  return h[token * params.h_stride + params.first + row];
}

// A bit, where the neuron's h of a token is not zero; read whatever the row is, so
// that all of an invocation's are read at once.
fn used_bit(bit: u32, token: u32, row: u32, end: u32) -> u32 {
  let value = h_of(token, min(row, end - 1u));
  return select(0u, 1u << bit, value != 0.0 && row < end && is_here(token, row));
}

// Whether this piece of the matrix has a neuron's row.
fn is_here(token: u32, row: u32) -> bool {
  return !routed || expert_of(token, row) - params.expert_first < params.expert_count;
}

// Where the matrix has a neuron's row: where there are experts, the h of a token are
// those of one chosen expert behind those of another.
fn matrix_row(token: u32, row: u32) -> u32 {
  if (!routed) { return row; }
  return (expert_of(token, row) - params.expert_first) * params.expert_rows + row % params.width;
}

fn expert_of(token: u32, row: u32) -> u32 {
  return chosen_expert(token, row / params.width);
}
