// I8HM: weight = scale · q + minimum, as I8H with a plane of minimums behind the
// scales, laid out as these.
const halves_i8hm = true;

fn integers_i8hm(row: u32, unit: u32) -> Integers {
  let start = row * 24u * params.groups;
  let first = start + 16u * (unit / 8u) + unit % 8u;
  let low = matrix[first];
  let high = matrix[first + 8u];
  let at = start + 16u * params.groups + unit / 2u;
  let scales = bitcast<vec4f>(matrix[at]);
  let minimums = bitcast<vec4f>(matrix[at + 4u * params.groups]);
  let is_odd = unit % 2u == 1u;
  return Integers(
    low,
    high,
    select(scales.xy, scales.zw, is_odd),
    select(minimums.xy, minimums.zw, is_odd),
  );
}
