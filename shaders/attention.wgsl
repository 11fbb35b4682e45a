// out = softmax(q · k · scale) · v of one query head and one token, over tiles
// of positions: an invocation scores one position, then adds up one quad of
// the values of every n-th position of the tile. Where positions are many and
// heads few, several workgroups (z) share the tiles, and leave results of their own.
var<workgroup> query: array<vec4f, tile>;
var<workgroup> weights: array<f32, tile>;
var<workgroup> reduced: array<f32, tile>;
var<workgroup> sums: array<vec4f, tile>;
var<workgroup> pages: array<u32, tile / page_positions>;

@compute @workgroup_size(tile)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let head = group.x;
  let token = group.y;
  let kv_head = (head + params.group_shift) / params.group;
  let position = token_at(token, record_position);
  let first = position + 1u - min(position + 1u, params.window);
  let q_at = token * params.stride + params.q_first + head * params.head_size;

  let scale = params.scale * bitcast<f32>(token_at(token, record_query_scale));
  if (index < params.quads) {
    var q: vec4f;
    for (var i = 0u; i < 4u; i++) {
      let e = 4u * index + i;
      if (e < params.head_size) { q[i] = scale * qkv[q_at + e]; }
    }
    query[index] = q;
  }

  // Invocations that add up values: `members` of them share a quad
  let quad = index % params.quads;
  let member = index / params.quads;
  let members = tile / params.quads;
  var highest = lowest;
  var total = 0.0;
  var sum = vec4f();
  // A sink takes its share once, and adds nothing.
  if (sunk && group.z == 0u) {
    highest = sinks[head];
    total = select(0.0, 1.0, member == 0u);
  }

  let all_start = first / page_positions * page_positions;
  let tiles = (position + tile - all_start) / tile;
  let share = (tiles + step[split_count] - 1u) / step[split_count] * tile;
  let own_start = all_start + group.z * share;
  let end = min(position + 1u, own_start + share);

  for (var start = own_start; start < end; start += tile) {
    if (index < tile / page_positions) {
      let page = page_of(token, min(start + index * page_positions, position));
      pages[index] = page_start(page, kv_head);
    }
    workgroupBarrier();
    let p = start + index;
    var score = lowest;
    if (p >= first && p <= position) {
      score = 0.0;
      let page = pages[index / page_positions];
      let at = index % page_positions;
      var i = 0u;
      for (; i + 16u <= params.quads; i += 16u) {
        score += ((score_of(page, at, i) + score_of(page, at, i + 2u)) +
          (score_of(page, at, i + 4u) + score_of(page, at, i + 6u))) +
          ((score_of(page, at, i + 8u) + score_of(page, at, i + 10u)) +
            (score_of(page, at, i + 12u) + score_of(page, at, i + 14u)));
      }
      for (; i < params.quads; i += 2u) { score += score_of(page, at, i); }
      if (capped) { score = soft_cap(score, params.cap); }
    }
    let before = highest;
    highest = max(highest, highest_of(score, index));
    weights[index] = select(0.0, exp(score - highest), score > lowest);
    workgroupBarrier();

    let decay = exp(before - highest);
    sum *= decay;
    total *= decay;
    if (member < members) {
      let count = min(tile, end - start);
      var i = member;
      for (; i + 7u * members < count; i += 8u * members) {
        sum += ((weighted(i, quad) + weighted(i + members, quad)) +
          (weighted(i + 2u * members, quad) + weighted(i + 3u * members, quad))) +
          ((weighted(i + 4u * members, quad) + weighted(i + 5u * members, quad)) +
            (weighted(i + 6u * members, quad) + weighted(i + 7u * members, quad)));
        total += ((weights[i] + weights[i + members]) +
          (weights[i + 2u * members] + weights[i + 3u * members])) +
          ((weights[i + 4u * members] + weights[i + 5u * members]) +
            (weights[i + 6u * members] + weights[i + 7u * members]));
      }
      for (; i < count; i += members) {
        total += weights[i];
        sum += weighted(i, quad);
      }
    }
    workgroupBarrier();
  }

  sums[index] = sum;
  reduced[index] = total;
  workgroupBarrier();
  if (index >= params.quads) { return; }
  for (var i = 1u; i < members; i++) {
    sum += sums[index + i * params.quads];
    total += reduced[index + i * params.quads];
  }
  if (step[split_count] == 1u) {
    put_attended(token, head, index, sum / total);
    return;
  }
  let at = split_at(token, head, group.z);
  splits[at + index] = sum;
  if (index == 0u) { splits[at + params.quads] = vec4f(highest, total, 0.0, 0.0); }
}

// Two quads of the query times those of a key.
fn score_of(page: u32, position: u32, i: u32) -> f32 {
  return dot(query[i], key_quad(page, position, i)) +
    dot(query[i + 1u], key_quad(page, position, i + 1u));
}

// A quad of the values of the tile's i-th position, times its weight.
fn weighted(i: u32, quad: u32) -> vec4f {
  return weights[i] * value_quad(pages[i / page_positions], i % page_positions, quad);
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
