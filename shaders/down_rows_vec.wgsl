// x += Σ h · row of down of one token (y), over the neurons whose h is not zero. A
// workgroup has one unit of the columns (x). It reads all h of a stretch at once,
// numbers the neurons that it has a use for, lists a window of them, and each
// invocation adds up the units of every 256th of the list, two at a time.

const threads = 256u;
// Neurons of a stretch: 64 for each invocation, every 256th from its own on
const stretch = 16384u;
// Neurons that are listed at once
const window = 2048u;
var<workgroup> listed: array<u32, window>;
// How many the invocations up to each have
var<workgroup> counts: array<u32, threads>;
var<workgroup> sums: array<vec4f, threads>;

@compute @workgroup_size(threads)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let token = group.y;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  for (var base = 0u; base < params.rows; base += stretch) {
    let first = base + index;
    let lower = used_32(token, first);
    var upper = 0u;
    if (base + stretch / 2u < params.rows) { upper = used_32(token, first + stretch / 2u); }
    let own = countOneBits(lower) + countOneBits(upper);
    add_up(own, index);
    let total = workgroupUniformLoad(&counts[threads - 1u]);
    for (var start = 0u; start < total; start += window) {
      // Those of the invocations before come first.
      let place = list(lower, first, counts[index] - own, start);
      _ = list(upper, first + stretch / 2u, place, start);
      workgroupBarrier();
      let end = min(window, total - start);
      for (var i = index; i < end; i += 2u * threads) {
        let has_other = i + threads < end;
        let row = listed[i];
        let other = listed[select(i, i + threads, has_other)];
        let weights = unit_weights(matrix_row(token, row), group.x);
        let others = unit_weights(matrix_row(token, other), group.x);
        let value = h_of(token, row);
        let second = select(0.0, h_of(token, other), has_other);
        s0 += value * weights[0] + second * others[0];
        s1 += value * weights[1] + second * others[1];
        s2 += value * weights[2] + second * others[2];
        s3 += value * weights[3] + second * others[3];
        s4 += value * weights[4] + second * others[4];
        s5 += value * weights[5] + second * others[5];
        s6 += value * weights[6] + second * others[6];
        s7 += value * weights[7] + second * others[7];
      }
      workgroupBarrier();
    }
  }
  // Sums of every 32nd invocation's, then of those, always in the same order.
  let p0 = sum_of_32nd(s0, index);
  let p1 = sum_of_32nd(s1, index);
  let p2 = sum_of_32nd(s2, index);
  let p3 = sum_of_32nd(s3, index);
  let p4 = sum_of_32nd(s4, index);
  let p5 = sum_of_32nd(s5, index);
  let p6 = sum_of_32nd(s6, index);
  let p7 = sum_of_32nd(s7, index);
  workgroupBarrier();
  if (index < 32u) {
    sums[index] = p0;
    sums[index + 32u] = p1;
    sums[index + 64u] = p2;
    sums[index + 96u] = p3;
    sums[index + 128u] = p4;
    sums[index + 160u] = p5;
    sums[index + 192u] = p6;
    sums[index + 224u] = p7;
  }
  workgroupBarrier();
  if (index < 8u) {
    var total = vec4f();
    for (var i = 0u; i < 32u; i++) { total += sums[32u * index + i]; }
    x[token * params.stride + quad_at(group.x, index)] += total;
  }
}

// Of the first 32 invocations each gets the sum of every 32nd one's, from its own on.
fn sum_of_32nd(own: vec4f, index: u32) -> vec4f {
  workgroupBarrier();
  sums[index] = own;
  workgroupBarrier();
  if (index >= 32u) { return own; }
  return ((sums[index] + sums[index + 32u]) + (sums[index + 64u] + sums[index + 96u])) +
    ((sums[index + 128u] + sums[index + 160u]) + (sums[index + 192u] + sums[index + 224u]));
}

// A bit for each of 32 neurons, every 256th from `row` on, whose h is not zero.
fn used_32(token: u32, row: u32) -> u32 {
  return used_8(token, row) | used_8(token, row + 8u * threads) << 8u |
    used_8(token, row + 16u * threads) << 16u | used_8(token, row + 24u * threads) << 24u;
}

fn used_8(token: u32, row: u32) -> u32 {
  let end = params.rows;
  return used_bit(0u, token, row, end) | used_bit(1u, token, row + threads, end) |
    used_bit(2u, token, row + 2u * threads, end) | used_bit(3u, token, row + 3u * threads, end) |
    used_bit(4u, token, row + 4u * threads, end) | used_bit(5u, token, row + 5u * threads, end) |
    used_bit(6u, token, row + 6u * threads, end) | used_bit(7u, token, row + 7u * threads, end);
}

// Leaves in `counts` how many the invocations up to each have (Hillis and Steele, 1986).
fn add_up(own: u32, index: u32) {
  counts[index] = own;
  for (var distance = 1u; distance < threads; distance *= 2u) {
    workgroupBarrier();
    let before = select(0u, counts[max(index, distance) - distance], index >= distance);
    workgroupBarrier();
    counts[index] += before;
  }
}

// Lists the neurons of `bits`, the first of which has number `place`, as far as the
// window from `start` on has them; returns the number behind the last.
fn list(bits: u32, row: u32, place: u32, start: u32) -> u32 {
  var at = place;
  for (var left = bits; left != 0u; left &= left - 1u) {
    if (at >= start && at < start + window) {
      listed[at - start] = row + threads * firstTrailingBit(left);
    }
    at++;
  }
  return at;
}
