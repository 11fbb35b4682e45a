// x += Σ h · row of down of one token, over the neurons whose h is not zero. A
// workgroup has one unit of the columns (x). It lists a chunk of neurons, and
// each invocation adds up the units of every 256th of the list.

const threads = 256u;
// Neurons that are listed at once: eight by each invocation
const chunk = 2048u;
var<workgroup> listed: array<u32, chunk>;
// A bit for each neuron of a chunk: a byte for each invocation
var<workgroup> used: array<atomic<u32>, 64>;
// How many are in each word
var<workgroup> counts: array<u32, 64>;
var<workgroup> listed_count: u32;
var<workgroup> sums: array<vec4f, threads>;

@compute @workgroup_size(threads)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  for (var base = 0u; base < params.rows; base += chunk) {
    let total = list_neurons(base + index, params.rows, index);
    for (var i = index; i < total; i += threads) {
      let row = listed[i];
      let value = h_of(0u, row);
      let weights = unit_weights(row, group.x);
      s0 += value * weights[0];
      s1 += value * weights[1];
      s2 += value * weights[2];
      s3 += value * weights[3];
      s4 += value * weights[4];
      s5 += value * weights[5];
      s6 += value * weights[6];
      s7 += value * weights[7];
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
    x[quad_at(group.x, index)] += total;
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

// Lists the neurons from `row` on, every 256th, whose h is not zero, after those of
// the invocations before; returns how many all of them list.
fn list_neurons(row: u32, end: u32, index: u32) -> u32 {
  var bits = 0u;
  bits |= used_bit(0u, 0u, row, end);
  bits |= used_bit(1u, 0u, row + 256u, end);
  bits |= used_bit(2u, 0u, row + 512u, end);
  bits |= used_bit(3u, 0u, row + 768u, end);
  bits |= used_bit(4u, 0u, row + 1024u, end);
  bits |= used_bit(5u, 0u, row + 1280u, end);
  bits |= used_bit(6u, 0u, row + 1536u, end);
  bits |= used_bit(7u, 0u, row + 1792u, end);
  let word = index / 4u;
  let shift = 8u * (index % 4u);
  if (index < 64u) { atomicStore(&used[index], 0u); }
  workgroupBarrier();
  atomicOr(&used[word], bits << shift);
  workgroupBarrier();
  if (index < 64u) { counts[index] = countOneBits(atomicLoad(&used[index])); }
  workgroupBarrier();
  var place = countOneBits(atomicLoad(&used[word]) & ((1u << shift) - 1u));
  for (var w = 0u; w < 64u; w += 8u) {
    place += count_before(w, word) + count_before(w + 1u, word) +
      count_before(w + 2u, word) + count_before(w + 3u, word) +
      count_before(w + 4u, word) + count_before(w + 5u, word) +
      count_before(w + 6u, word) + count_before(w + 7u, word);
  }
  if (index == threads - 1u) { listed_count = place + countOneBits(bits); }
  for (var left = bits; left != 0u; left &= left - 1u) {
    listed[place] = row + 256u * firstTrailingBit(left);
    place++;
  }
  return workgroupUniformLoad(&listed_count);
}

// How many are in a word, where it comes before `end`.
fn count_before(word: u32, end: u32) -> u32 {
  return select(0u, counts[word], word < end);
}
