// Norms a segment (x) of a token's (y) numbers: times weight / rms(segment), or
// around its mean. Segments are of two kinds, such as queries and keys; weights
// of the second kind lie behind those of the first.
var<workgroup> sums: array<f32, threads>;

@compute @workgroup_size(threads)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let token = group.y;
  let is_second = group.x >= params.count;
  let number = group.x - select(0u, params.count, is_second);
  let size = select(params.size, params.second_size, is_second);
  let weights_at = select(0u, params.size, is_second);
  let column = select(params.first, params.second_first, is_second) + number * size;
  let at = token * params.stride + column;
  let out_at = token * params.out_stride + column;

  var mean = 0.0;
  if (centred) {
    var sum = 0.0;
    for (var i = index; i < size; i += threads) { sum += x[at + i]; }
    mean = sum_of(sum, index) / f32(size);
  }
  var scale: f32;
  if (given) {
    scale = scales[2u * token + u32(is_second)];
  } else {
    var squares = 0.0;
    for (var i = index; i < size; i += threads) {
      let v = x[at + i] - mean;
      squares += v * v;
    }
    scale = inverseSqrt(sum_of(squares, index) / f32(size) + params.epsilon);
  }
  for (var i = index; i < size; i += threads) {
    var value = (x[at + i] - mean) * scale * weight[weights_at + i];
    if (biased) { value += bias[weights_at + i]; }
    switch (target_of) {
      case target_out: { out[out_at + i] = value; }
      // What is added begins anew.
      case target_sum: {
        out[out_at + i] += value;
        x[at + i] = 0.0;
      }
      default: { x[at + i] = value; }
    }
  }
}

// Always in the same order.
fn sum_of(own: f32, index: u32) -> f32 {
  workgroupBarrier();
  sums[index] = own;
  for (var distance = threads / 2u; distance > 0u; distance /= 2u) {
    workgroupBarrier();
    if (index < distance) { sums[index] += sums[index + distance]; }
  }
  workgroupBarrier();
  return sums[0];
}
