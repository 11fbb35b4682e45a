// What the two kernels of a down matrix that has a row for each neuron share:
// both read only the rows of neurons whose h is not zero.
struct Down {
  // Neurons of the matrix, and the number of the first in h
  rows: u32,
  first: u32,
  groups: u32,
  // Floats of h from one token to the next
  h_stride: u32,
  // Vectors of x, and of a partial, from one token to the next
  stride: u32,
}
@group(0) @binding(1) var<uniform> product: Down;
@group(0) @binding(2) var<storage, read> matrix: array<vec4u>;
@group(0) @binding(3) var<storage, read> h: array<f32>;

fn h_of(token: u32, row: u32) -> f32 {
  return h[token * product.h_stride + product.first + row];
}

// A bit, where the neuron's h of a token is not zero; read whatever the row is, so
// that all of an invocation's are read at once.
fn used_bit(bit: u32, token: u32, row: u32, end: u32) -> u32 {
  let value = h_of(token, min(row, end - 1u));
  return select(0u, 1u << bit, value != 0.0 && row < end);
}
