// Turns queries and keys by their positions' angles (elements 2i and 2i + 1 of
// a head are a pair) and stores keys and values in their pages. An invocation
// has 32 elements of one head; y is the token.
@group(0) @binding(3) var<storage, read_write> qkv: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let chunks = (heads.head_size + 31u) / 32u;
  let head = id.x / chunks;
  let first = id.x % chunks * 32u;
  let token = id.y;
  if (head >= heads.heads + heads.kv_heads) { return; }
  if (head < heads.heads) {
    let at = token * heads.stride + heads.q_first + head * heads.head_size;
    let q = turned(token, at, first);
    for (var e = first; e < min(first + 32u, heads.head_size); e++) {
      qkv[at + e] = q[(e - first) / 4u][e % 4u];
    }
    return;
  }
  let kv_head = head - heads.heads;
  let shift = token * heads.stride + kv_head * heads.head_size;
  let key = turned(token, shift + heads.k_first, first);
  let value = elements(shift + heads.v_first, first);
  let position = token_at(token, record_position);
  let start = page_start(page_of(token, position), kv_head);
  store(start, position % page_positions, first / 4u, key, value);
}

// 32 elements of a head from `first` on; zeros beyond its end.
fn elements(at: u32, first: u32) -> array<vec4f, 8> {
  var quads: array<vec4f, 8>;
  for (var e = first; e < min(first + 32u, heads.head_size); e++) {
    quads[(e - first) / 4u][e % 4u] = qkv[at + e];
  }
  return quads;
}

// The same, turned.
fn turned(token: u32, at: u32, first: u32) -> array<vec4f, 8> {
  var quads = elements(at, first);
  for (var e = first; e < min(first + 32u, heads.rope_size); e += 2u) {
    let c = bitcast<f32>(token_at(token, record_angles + e));
    let s = bitcast<f32>(token_at(token, record_angles + e + 1u));
    let i = (e - first) / 4u;
    let a = quads[i][e % 4u];
    let b = quads[i][e % 4u + 1u];
    quads[i][e % 4u] = a * c - b * s;
    quads[i][e % 4u + 1u] = a * s + b * c;
  }
  return quads;
}
