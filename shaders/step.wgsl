// What is uploaded for a step: eight words of header, a record for each token,
// then the pages of each sequence.
@group(0) @binding(0) var<storage, read> step: array<u32>;

// Words of the header
const token_count = 0u;
const wanted_first = 1u;
const wanted_count = 2u;
const stretch_count = 3u;
const record_words = 4u;
const top_count = 5u;
const split_count = 6u;

// Words of a token's record; (cos, sin) of its position's angles follow
const record_id = 0u;
const record_position = 1u;
// The token that wants the logits of this number
const record_wanted = 2u;
// Where the pages of its sequence begin, in words of the step
const record_pages = 3u;
const record_angles = 4u;

fn token_at(token: u32, field: u32) -> u32 {
  return step[8u + token * step[record_words] + field];
}
