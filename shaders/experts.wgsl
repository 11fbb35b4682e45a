// What a token's record has of an expert that it chose: its number, and what it counts.

fn chosen_expert(token: u32, slot: u32) -> u32 {
  return token_at(token, params.routes + 2u * slot);
}

fn expert_weight(token: u32, slot: u32) -> f32 {
  return bitcast<f32>(token_at(token, params.routes + 2u * slot + 1u));
}
