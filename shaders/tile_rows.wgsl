// The rows of a tile: those that follow one another, or, where `paired`, of each
// neuron that of gate and that of up. An invocation computes every `step`th of them,
// and has both of a neuron one after the other.

// The first of tile number `tile`
fn tile_first(tile: u32) -> u32 {
  return tile * select(tile_rows, tile_rows / 2u, paired);
}

// The matrix's number of the tile's row number `slot`
fn tile_row(first: u32, slot: u32, step: u32) -> u32 {
  let last = params.rows - 1u;
  if (!paired) { return min(first + slot, last); }
  let row = min(first + slot / (2u * step) * step + slot % step, last);
  return row + select(0u, params.up_first, slot / step % 2u == 1u);
}

// An invocation's results number 2 · `pair` and the next of a token; its first row is `row`.
fn finish_two(token: u32, row: u32, step: u32, pair: u32, sums: vec2f, squares: f32) {
  if (paired) {
    finish_neuron(token, row + pair * step, sums.x, sums.y, squares);
  } else {
    finish(token, row + 2u * pair * step, sums.x, squares);
    finish(token, row + (2u * pair + 1u) * step, sums.y, squares);
  }
}
