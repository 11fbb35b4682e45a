// out = softmax(q · k · scale) · v of one query head and one token, over tiles
// of 256 positions: an invocation scores one position, then adds up one quad of
// the values of every n-th position of the tile.
@group(0) @binding(3) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const tile = 256u;
const lowest = -3.0e38;
var<workgroup> query: array<vec4f, 256>;
var<workgroup> weights: array<f32, 256>;
var<workgroup> reduced: array<f32, 256>;
var<workgroup> sums: array<vec4f, 256>;
var<workgroup> pages: array<u32, 8>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let head = group.x;
  let token = group.y;
  let kv_head = (head + heads.group_shift) / heads.group;
  let position = token_at(token, record_position);
  let first = position + 1u - min(position + 1u, heads.window);
  let q_at = token * heads.stride + heads.q_first + head * heads.head_size;

  if (index < heads.quads) {
    var q: vec4f;
    for (var i = 0u; i < 4u; i++) {
      let e = 4u * index + i;
      if (e < heads.head_size) { q[i] = heads.scale * qkv[q_at + e]; }
    }
    query[index] = q;
  }

  // Invocations that add up values: `members` of them share a quad
  let quad = index % heads.quads;
  let member = index / heads.quads;
  let members = tile / heads.quads;
  var highest = lowest;
  var total = 0.0;
  var sum = vec4f();

  for (var start = first / page_positions * page_positions; start <= position; start += tile) {
    if (index < 8u) {
      let page = page_of(token, min(start + index * page_positions, position));
      pages[index] = page_start(page, kv_head);
    }
    workgroupBarrier();
    let p = start + index;
    var score = lowest;
    if (p >= first && p <= position) {
      score = 0.0;
      let page = pages[index / page_positions];
      for (var i = 0u; i < heads.quads; i++) {
        score += dot(query[i], key_quad(page, index % page_positions, i));
      }
    }
    let before = highest;
    highest = max(highest, highest_of(score, index));
    weights[index] = select(0.0, exp(score - highest), score > lowest);
    workgroupBarrier();

    let decay = exp(before - highest);
    sum *= decay;
    total *= decay;
    if (member < members) {
      let count = min(tile, position + 1u - start);
      for (var i = member; i < count; i += members) {
        let weight = weights[i];
        total += weight;
        sum += weight * value_quad(pages[i / page_positions], i % page_positions, quad);
      }
    }
    workgroupBarrier();
  }

  sums[index] = sum;
  reduced[index] = total;
  workgroupBarrier();
  if (index >= heads.quads) { return; }
  for (var i = 1u; i < members; i++) {
    sum += sums[index + i * heads.quads];
    total += reduced[index + i * heads.quads];
  }
  let out_at = token * heads.out_stride;
  for (var i = 0u; i < 4u; i++) {
    let e = 4u * index + i;
    if (e < heads.head_size) {
      out[out_at + head * heads.head_size + e] = sum[i] / total;
    }
  }
  if (head == heads.heads - 1u) {
    let end = heads.heads * heads.head_size;
    for (var e = end + index; e < heads.out_padded; e += heads.quads) {
      out[out_at + e] = 0.0;
    }
  }
}

fn highest_of(score: f32, index: u32) -> f32 {
  reduced[index] = score;
  for (var distance = tile / 2u; distance > 0u; distance /= 2u) {
    workgroupBarrier();
    if (index < distance) {
      reduced[index] = max(reduced[index], reduced[index + distance]);
    }
  }
  workgroupBarrier();
  return reduced[0];
}
