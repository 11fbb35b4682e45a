// Turns queries and keys by their positions' angles (elements 2i and 2i + 1 of
// a head are a pair) and stores keys and values in their pages. An invocation
// has a quad of one head, eight neighbours a block of 32 elements; y is the token.
// Where heads are normed before, a workgroup has one head.
@compute @workgroup_size(threads)
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let quads = padded_quads();
  if (!normed) {
    turn_and_store(id.y, id.x / quads, id.x % quads, 1.0, index);
    return;
  }
  let scale = scale_of(group.y, group.x, quads, index);
  for (var first = 0u; first < quads; first += threads) {
    turn_and_store(group.y, group.x, first + index, scale, index);
    workgroupBarrier();
  }
}

// Quads of a head in whole blocks of 32 elements.
fn padded_quads() -> u32 {
  return 8u * ((params.head_size + 31u) / 32u);
}

fn turn_and_store(token: u32, head: u32, quad: u32, scale: f32, index: u32) {
  if (head < params.heads) {
    let at = token * params.stride + params.q_first + head * params.head_size;
    put_elements(at, quad, turned(token, quad, normed_elements(at, quad, scale, 0u)));
  }
  // Storing may need values of the whole workgroup, so that all of it calls `store`.
  let is_stored = head >= params.heads && head < params.heads + params.kv_heads &&
    quad < padded_quads();
  let kv_head = select(0u, head - params.heads, is_stored);
  let shift = token * params.stride + kv_head * params.head_size;
  let plain = normed_elements(shift + params.k_first, quad, scale, params.head_size);
  let key = turned(token, quad, plain);
  let value = elements(shift + params.v_first, quad);
  let position = token_at(token, record_position);
  let start = page_start(page_of(token, position), kv_head);
  store(is_stored, start, position % page_positions, quad, key, value, index);
}

// 1 / rms of a query or key head, whose quads the workgroup has.
fn scale_of(token: u32, head: u32, quads: u32, index: u32) -> f32 {
  let is_query = head < params.heads;
  let kv_head = select(head - params.heads, 0u, is_query);
  let at = token * params.stride + select(
    params.k_first + kv_head * params.head_size,
    params.q_first + head * params.head_size,
    is_query,
  );
  var own = 0.0;
  for (var quad = index; quad < quads; quad += threads) {
    let v = elements(at, quad);
    own += dot(v, v);
  }
  squares[index] = own;
  for (var distance = threads / 2u; distance > 0u; distance /= 2u) {
    workgroupBarrier();
    if (index < distance) { squares[index] += squares[index + distance]; }
  }
  workgroupBarrier();
  return inverseSqrt(squares[0] / f32(params.head_size) + params.epsilon);
}

var<workgroup> squares: array<f32, threads>;

// A quad of a head's elements, normed by the weights that begin at `weights_at`.
fn normed_elements(at: u32, quad: u32, scale: f32, weights_at: u32) -> vec4f {
  let v = elements(at, quad);
  if (!normed) { return v; }
  return v * scale * vec4f(
    weight(weights_at, 4u * quad), weight(weights_at, 4u * quad + 1u),
    weight(weights_at, 4u * quad + 2u), weight(weights_at, 4u * quad + 3u),
  );
}

fn weight(at: u32, e: u32) -> f32 {
  return norm[at + min(e, params.head_size - 1u)];
}

// A quad of a head's elements; zeros beyond its end.
fn elements(at: u32, quad: u32) -> vec4f {
  return vec4f(
    element(at, 4u * quad), element(at, 4u * quad + 1u),
    element(at, 4u * quad + 2u), element(at, 4u * quad + 3u),
  );
}

fn element(at: u32, e: u32) -> f32 {
  if (e >= params.head_size) { return 0.0; }
  return qkv[at + e];
}

fn put_elements(at: u32, quad: u32, v: vec4f) {
  let e = 4u * quad;
  if (e < params.head_size) { qkv[at + e] = v.x; }
  if (e + 1u < params.head_size) { qkv[at + e + 1u] = v.y; }
  if (e + 2u < params.head_size) { qkv[at + e + 2u] = v.z; }
  if (e + 3u < params.head_size) { qkv[at + e + 3u] = v.w; }
}

// A quad, turned.
fn turned(token: u32, quad: u32, v: vec4f) -> vec4f {
  return vec4f(turned_pair(token, v.xy, 4u * quad), turned_pair(token, v.zw, 4u * quad + 2u));
}

fn turned_pair(token: u32, pair: vec2f, e: u32) -> vec2f {
  if (e >= params.rope_size) { return pair; }
  let c = bitcast<f32>(token_at(token, params.angles + e));
  let s = bitcast<f32>(token_at(token, params.angles + e + 1u));
  return vec2f(pair.x * c - pair.y * s, pair.x * s + pair.y * c);
}
