// Of each row of the logits the `top_count` largest, the largest first and the
// lower id first among equals, and log Σ exp over all. A workgroup sorts a chunk
// (x) of a row (y) and passes its best on; levels follow one another until one
// chunk is left, whose best are the row's.
const threads = 256u;
var<workgroup> sorted: array<vec2u, chunk>;
var<workgroup> sums: array<f32, threads>;

@compute @workgroup_size(threads)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let best_count = step[top_count];
  var count = params.columns;
  for (var level = 0u; level < params.level; level++) {
    count = chunks_of(count) * best_count;
  }
  let sums_at = group.y * (params.even_room + params.odd_room + chunks_of(params.columns)) +
    params.even_room + params.odd_room;
  let even_at = sums_at - params.odd_room - params.even_room;
  let odd_at = sums_at - params.odd_room;
  let is_even = params.level % 2u == 0u;

  for (var i = index; i < chunk; i += threads) {
    let at = group.x * chunk + i;
    var entry = vec2u(0u, 0xffffffffu);
    if (at < count) {
      if (params.level == 0u) {
        entry = vec2u(key_of(logits[group.y * params.columns + at]), at);
      } else {
        entry = scratch[select(even_at, odd_at, is_even) + at];
      }
    }
    sorted[i] = entry;
  }
  sort(index);
  let largest = value_of(sorted[0].x);

  if (params.level == 0u) {
    var own = 0.0;
    for (var i = index; i < chunk; i += threads) {
      if (sorted[i].x != 0u) { own += exp_below(value_of(sorted[i].x) - largest); }
    }
    let total = sum_of(own, index);
    if (index == 0u) {
      scratch[sums_at + group.x] = vec2u(bitcast<u32>(largest), bitcast<u32>(total));
    }
    storageBarrier();
  }
  if (chunks_of(count) > 1u) {
    for (var i = index; i < best_count; i += threads) {
      scratch[select(odd_at, even_at, is_even) + group.x * best_count + i] = sorted[i];
    }
    return;
  }
  var own = 0.0;
  for (var i = index; i < chunks_of(params.columns); i += threads) {
    let part = bitcast<vec2f>(scratch[sums_at + i]);
    own += part.y * exp_below(part.x - largest);
  }
  let total = sum_of(own, index);
  let first = group.y * (1u + 2u * best_count);
  if (index == 0u) { top[first] = bitcast<u32>(largest + log(total)); }
  for (var i = index; i < best_count; i += threads) {
    top[first + 1u + i] = bits_of(sorted[i].x);
    top[first + 1u + best_count + i] = sorted[i].y;
  }
}

fn chunks_of(count: u32) -> u32 {
  return (count + chunk - 1u) / chunk;
}

// A number that orders as the float of these bits does, from 1 on: both zeros
// are equal, and what is not a number comes before all others, so that it is seen.
fn key_of(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  if ((bits & 0x7fffffffu) == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn bits_of(key: u32) -> u32 {
  return select(~key, key & 0x7fffffffu, key >= 0x80000000u);
}

fn value_of(key: u32) -> f32 {
  return bitcast<f32>(bits_of(key));
}

// exp(x) of x up to 0, also of minus infinity: e^-104 is 0 in f32.
fn exp_below(x: f32) -> f32 {
  return exp(max(x, -104.0));
}

fn comes_before(a: vec2u, b: vec2u) -> bool {
  return a.x > b.x || (a.x == b.x && a.y < b.y);
}

// Sorts the chunk by a bitonic network (Batcher, 1968).
fn sort(index: u32) {
  for (var run = 2u; run <= chunk; run *= 2u) {
    for (var distance = run / 2u; distance > 0u; distance /= 2u) {
      workgroupBarrier();
      for (var i = index; i < chunk / 2u; i += threads) {
        let low = 2u * i - i % distance;
        let a = sorted[low];
        let b = sorted[low + distance];
        if (comes_before(b, a) == ((low & run) == 0u)) {
          sorted[low] = b;
          sorted[low + distance] = a;
        }
      }
    }
  }
  workgroupBarrier();
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
