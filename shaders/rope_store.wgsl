// Turns queries and keys by their positions' angles (elements 2i and 2i + 1 of
// a head are a pair) and stores keys and values in their pages. An invocation
// has a quad of one head, eight neighbours a block of 32 elements; y is the token.
@compute @workgroup_size(threads)
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let quads = 8u * ((params.head_size + 31u) / 32u);
  let head = id.x / quads;
  let quad = id.x % quads;
  let token = id.y;
  if (head < params.heads) {
    let at = token * params.stride + params.q_first + head * params.head_size;
    put_elements(at, quad, turned(token, at, quad));
  }
  // Storing may need values of the whole workgroup, so that all of it calls `store`.
  let is_stored = head >= params.heads && head < params.heads + params.kv_heads;
  let kv_head = select(0u, head - params.heads, is_stored);
  let shift = token * params.stride + kv_head * params.head_size;
  let key = turned(token, shift + params.k_first, quad);
  let value = elements(shift + params.v_first, quad);
  let position = token_at(token, record_position);
  let start = page_start(page_of(token, position), kv_head);
  store(is_stored, start, position % page_positions, quad, key, value, index);
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

// The same, turned.
fn turned(token: u32, at: u32, quad: u32) -> vec4f {
  let v = elements(at, quad);
  return vec4f(turned_pair(token, v.xy, 4u * quad), turned_pair(token, v.zw, 4u * quad + 2u));
}

fn turned_pair(token: u32, pair: vec2f, e: u32) -> vec2f {
  if (e >= params.rope_size) { return pair; }
  let c = bitcast<f32>(token_at(token, params.angles + e));
  let s = bitcast<f32>(token_at(token, params.angles + e + 1u));
  return vec2f(pair.x * c - pair.y * s, pair.x * s + pair.y * c);
}
