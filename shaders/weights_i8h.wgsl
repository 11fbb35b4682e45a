// I8H: weight = scale · q, a scale for 16 weights: what the types without a layout
// of their own become. A row has a plane of q (as in Q8_0) and one of scales, f32.
const halves_i8h = true;

fn integers_i8h(row: u32, unit: u32) -> Integers {
  let start = row * 20u * params.groups;
  let first = start + 16u * (unit / 8u) + unit % 8u;
  let low = matrix[first];
  let high = matrix[first + 8u];
  let scales = bitcast<vec4f>(matrix[start + 16u * params.groups + unit / 2u]);
  return Integers(low, high, select(scales.xy, scales.zw, unit % 2u == 1u), vec2f());
}
