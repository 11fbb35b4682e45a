// A word of a token's record in what is uploaded for a step.
fn token_at(token: u32, field: u32) -> u32 {
  return step[header_words + token * step[token_words] + field];
}
