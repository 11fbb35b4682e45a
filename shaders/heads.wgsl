// What the two kernels of attention share: where queries, keys and values lie.
// Elements of a head are taken in quads; pages hold positions of one key and
// value head, padded to whole quads (f32, f16: two; q8_0: eight).

// The page that holds a position of the token's sequence.
fn page_of(token: u32, position: u32) -> u32 {
  return step[token_at(token, record_pages) + position / page_positions];
}
