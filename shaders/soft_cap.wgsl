// cap · tanh(x / cap); tanh is 1 long before exponentials of drivers overflow.
fn soft_cap(x: f32, cap: f32) -> f32 {
  return cap * tanh(clamp(x / cap, -15.0, 15.0));
}
