// A unit of x times that of a row, and of the three behind it where an invocation
// has four: they are of one type.
fn dot_rows(row: u32, unit: u32, v: array<vec4f, 8>) -> vec4f {
  var dots = vec4f();
  dots.x = dot_units(unit_weights(row, unit), v);
  if (rows_each > 1u) {
    dots.y = dot_units(unit_weights(row + 1u, unit), v);
    dots.z = dot_units(unit_weights(row + 2u, unit), v);
    dots.w = dot_units(unit_weights(row + 3u, unit), v);
  }
  return dots;
}
