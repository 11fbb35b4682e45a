// Which experts a token (x) chooses by its scores, those of the largest: of equal
// ones the first, and NaN before all, so that it comes to light. They go to its
// record, ascending, each with what it counts; behind them the shared ones, which
// every token has.
const threads = 64u;
// Numbers that order as scores do
var<workgroup> keys: array<u32, most_experts>;
// 1 of an expert that is chosen, 0 of others
var<workgroup> chosen: array<u32, most_experts>;
var<workgroup> largest: f32;
var<workgroup> sums: array<f32, threads>;

@compute @workgroup_size(threads)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let token = group.x;
  let first = token * params.stride;
  for (var id = index; id < params.experts; id += threads) {
    keys[id] = key_of(bitcast<u32>(scores[first + id]));
  }
  workgroupBarrier();
  for (var id = index; id < params.experts; id += threads) {
    let rank = rank_of(id);
    chosen[id] = u32(rank < params.used);
    if (rank == 0u) { largest = scores[first + id]; }
  }
  workgroupBarrier();

  var all = 0.0;
  if (!sigmoid) {
    for (var id = index; id < params.experts; id += threads) {
      all += exp(scores[first + id] - largest);
    }
    all = sum_of(all, index);
  }
  var divisor = 1.0;
  if (normalised) {
    var own = 0.0;
    for (var id = index; id < params.experts; id += threads) {
      if (chosen[id] == 1u) { own += weight_of(scores[first + id], all); }
    }
    divisor = max(sum_of(own, index), least_weight);
  }
  for (var id = index; id < params.experts; id += threads) {
    if (chosen[id] == 0u) { continue; }
    var slot = 0u;
    for (var other = 0u; other < id; other++) { slot += chosen[other]; }
    put(token, slot, id, weight_of(scores[first + id], all) * params.scale / divisor);
  }
  for (var i = index; i < params.shared_count; i += threads) {
    let id = params.experts + i;
    put(token, params.used + i, id, sigmoid_of(scores[first + id]));
  }
}

fn put(token: u32, slot: u32, id: u32, weight: f32) {
  let at = header_words + token * step[token_words] + params.routes + 2u * slot;
  step[at] = id;
  step[at + 1u] = bitcast<u32>(weight);
}

// What is not divided by less, as in llama.cpp: 2^-14
const least_weight = 6.103515625e-5;

fn weight_of(score: f32, all: f32) -> f32 {
  if (sigmoid) { return sigmoid_of(score); }
  return exp(score - largest) / all;
}

fn sigmoid_of(score: f32) -> f32 {
  return 1.0 / (1.0 + exp(-score));
}

// How many experts go before one.
fn rank_of(id: u32) -> u32 {
  let key = keys[id];
  var rank = 0u;
  for (var other = 0u; other < params.experts; other++) {
    let before = keys[other];
    rank += u32(before > key || (before == key && other < id));
  }
  return rank;
}

// Both zeros are equal, and NaN is as large as what is infinite.
fn key_of(bits: u32) -> u32 {
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return 0xff800000u; }
  if (size == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
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
