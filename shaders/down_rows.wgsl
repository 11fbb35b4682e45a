// partials[stretch][token] = Σ h · row of down of several tokens, over a stretch
// of neurons, those of which any of `tile_tokens` (z) has a use. A workgroup has
// 256 columns (x) and a stretch (y): it lists a chunk of neurons, unpacks eight
// rows at a time, and adds them up for each token.

// Neurons that are listed at once: four by each invocation
const chunk = 256u;
var<workgroup> listed: array<u32, chunk>;
// A bit for each neuron of a chunk
var<workgroup> used: array<atomic<u32>, 8>;
var<workgroup> listed_count: u32;

var<workgroup> rows_tile: array<vec4f, 512>;
// h of eight neurons, for eight tokens
var<workgroup> values: array<vec4f, 16>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let length = stretch_length();
  let end = min((group.y + 1u) * length, params.rows);
  let first_token = tile_tokens * group.z;
  let token_end = min(first_token + tile_tokens, step[token_count]);
  let lane = index % 8u;
  let to = 64u * (index / 8u);
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();

  for (var base = group.y * length; base < end; base += chunk) {
    let total = list_neurons(base, min(end, base + chunk), first_token, token_end, index);
    for (var i = 0u; i < total; i += 8u) {
      let row = listed[min(i + index / 8u, total - 1u)];
      let weights = unit_weights(row, 8u * group.x + lane);
      rows_tile[to + quad_at(lane, 0u)] = weights[0];
      rows_tile[to + quad_at(lane, 1u)] = weights[1];
      rows_tile[to + quad_at(lane, 2u)] = weights[2];
      rows_tile[to + quad_at(lane, 3u)] = weights[3];
      rows_tile[to + quad_at(lane, 4u)] = weights[4];
      rows_tile[to + quad_at(lane, 5u)] = weights[5];
      rows_tile[to + quad_at(lane, 6u)] = weights[6];
      rows_tile[to + quad_at(lane, 7u)] = weights[7];
      if (index < 16u) {
        values[index] = tokens_of(i + index / 2u, total, first_token + 4u * (index % 2u), token_end);
      }
      workgroupBarrier();
      for (var n = 0u; n < 8u; n++) {
        let quad = rows_tile[64u * n + index];
        s0 += values[2u * n].x * quad;
        s1 += values[2u * n].y * quad;
        s2 += values[2u * n].z * quad;
        s3 += values[2u * n].w * quad;
        s4 += values[2u * n + 1u].x * quad;
        s5 += values[2u * n + 1u].y * quad;
        s6 += values[2u * n + 1u].z * quad;
        s7 += values[2u * n + 1u].w * quad;
      }
      workgroupBarrier();
    }
  }

  let vector = 64u * group.x + index;
  store_tokens(group.y, first_token, token_end, vector, mat4x4f(s0, s1, s2, s3));
  store_tokens(group.y, first_token + 4u, token_end, vector, mat4x4f(s4, s5, s6, s7));
}

fn store_tokens(stretch: u32, first: u32, end: u32, vector: u32, sums: mat4x4f) {
  if (first < end) { store_partial(stretch, first, vector, sums[0]); }
  if (first + 1u < end) { store_partial(stretch, first + 1u, vector, sums[1]); }
  if (first + 2u < end) { store_partial(stretch, first + 2u, vector, sums[2]); }
  if (first + 3u < end) { store_partial(stretch, first + 3u, vector, sums[3]); }
}

// h of a listed neuron for four tokens; zeros where there is none.
fn tokens_of(entry: u32, total: u32, first: u32, end: u32) -> vec4f {
  if (entry >= total) { return vec4f(); }
  let row = listed[entry];
  return vec4f(
    h_of_any(first, row, end), h_of_any(first + 1u, row, end),
    h_of_any(first + 2u, row, end), h_of_any(first + 3u, row, end),
  );
}

fn h_of_any(token: u32, row: u32, end: u32) -> f32 {
  return select(0.0, h_of(min(token, end - 1u), row), token < end);
}

// Neurons of a stretch.
fn stretch_length() -> u32 {
  return (params.rows + step[stretch_count] - 1u) / step[stretch_count];
}

// Lists, in order, the neurons of a chunk from `base` on whose h of any token is
// not zero; returns how many they are.
fn list_neurons(base: u32, end: u32, first_token: u32, token_end: u32, index: u32) -> u32 {
  let row = base + 4u * index;
  var bits = 0u;
  for (var token = first_token; token < token_end; token++) {
    bits |= used_bit(0u, token, row, end) | used_bit(1u, token, row + 1u, end) |
      used_bit(2u, token, row + 2u, end) | used_bit(3u, token, row + 3u, end);
  }
  let word = index / 8u;
  let shift = 4u * (index % 8u);
  if (index < 8u) { atomicStore(&used[index], 0u); }
  workgroupBarrier();
  atomicOr(&used[word], bits << shift);
  workgroupBarrier();
  var count = 0u;
  var place = 0u;
  for (var w = 0u; w < 8u; w++) {
    if (w == word) {
      place = count + countOneBits(atomicLoad(&used[w]) & ((1u << shift) - 1u));
    }
    count += countOneBits(atomicLoad(&used[w]));
  }
  for (var i = 0u; i < 4u; i++) {
    if ((bits & (1u << i)) != 0u) {
      listed[place] = row + i;
      place++;
    }
  }
  if (index == 0u) { listed_count = count; }
  return workgroupUniformLoad(&listed_count);
}

// Stores four columns of a token's partial; slot 0 is for what other places add.
fn store_partial(stretch: u32, token: u32, vector: u32, sum: vec4f) {
  let at = ((stretch + 1u) * step[token_count] + token) * params.stride + vector;
  if (adds) { partials[at] += sum; } else { partials[at] = sum; }
}
