// What the two kernels of attention share: where queries, keys and values lie.
// Elements of a head are taken in quads; pages hold 32 positions of one key and
// value head, padded to whole quads (f32, f16: two; q8_0: eight).
struct Heads {
  heads: u32,
  kv_heads: u32,
  // Query heads of a key and value head, and the first query head's number among its own
  group: u32,
  group_shift: u32,
  head_size: u32,
  rope_size: u32,
  // Quads of a padded head
  quads: u32,
  // Floats from one token's queries, keys and values to the next one's
  stride: u32,
  q_first: u32,
  k_first: u32,
  v_first: u32,
  // Floats from one token's result to the next one's
  out_stride: u32,
  // Results of the last head are followed by zeros to here
  out_padded: u32,
  // Positions that attention reaches back, itself included
  window: u32,
  scale: f32,
}
@group(0) @binding(1) var<uniform> heads: Heads;

const page_positions = 32u;

// The page that holds a position of the token's sequence.
fn page_of(token: u32, position: u32) -> u32 {
  return step[token_at(token, record_pages) + position / page_positions];
}
