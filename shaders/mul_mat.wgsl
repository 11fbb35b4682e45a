// out[token][row] = matrix[row] · x[token], in tiles of 64 rows and 32 tokens (or
// 8, where there are few), 16 columns at a time: an invocation computes 8 rows of 2
// tokens (4 rows of one). What it puts into the tiles it reads while the columns
// before are multiplied.

// Four quads of each row and of each token, padded by one against bank conflicts
const pitch = 5u;
var<workgroup> weights_tile: array<vec4f, 320>;
var<workgroup> x_tile: array<vec4f, 160>;

// What an invocation puts into the tiles: a quad of two rows, and one of a token
struct Quads { first: vec4f, second: vec4f, x: vec4f, square: f32 }

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let first_row = tile_first(group.x);
  let first_token = group.y * select(many_tokens, few_tokens, few);
  let last_token = product_count() - 1u;

  // What this invocation reads: rows `slot` and `slot` + 32, and token `slot`
  let quad = index % 4u;
  let slot = index / 4u;
  let x_at = x_first(min(first_token + slot, last_token));
  let to = slot * pitch + quad;
  var square = 0.0;

  // What it computes: every 8th row (16th) from `along` on, tokens `across` and `across` + 16
  let tokens = select(16u, 8u, few);
  let across = index % tokens;
  let along = index / tokens;
  let row_step = 128u / tokens;
  let row = tile_row(first_row, slot, row_step);
  let other = tile_row(first_row, slot + 32u, row_step);
  let x_from = across * pitch;
  let w_from = along * pitch;
  let w_step = row_step * pitch;
  var s0 = vec2f();
  var s1 = vec2f();
  var s2 = vec2f();
  var s3 = vec2f();
  var s4 = vec2f();
  var s5 = vec2f();
  var s6 = vec2f();
  var s7 = vec2f();

  let end = 16u * params.groups;
  var next = quads_at(row, other, x_at, 0u, quad);
  for (var slice = 0u; slice < end; slice++) {
    weights_tile[to] = next.first;
    weights_tile[to + 32u * pitch] = next.second;
    x_tile[to] = next.x;
    square += next.square;
    workgroupBarrier();
    next = quads_at(row, other, x_at, min(slice + 1u, end - 1u), quad);
    {
      let one = x_tile[x_from];
      let two = second_token(x_from);
      s0 += products(weights_tile[w_from], one, two);
      s1 += products(weights_tile[w_from + w_step], one, two);
      s2 += products(weights_tile[w_from + 2u * w_step], one, two);
      s3 += products(weights_tile[w_from + 3u * w_step], one, two);
      if (!few) {
        s4 += products(weights_tile[w_from + 4u * w_step], one, two);
        s5 += products(weights_tile[w_from + 5u * w_step], one, two);
        s6 += products(weights_tile[w_from + 6u * w_step], one, two);
        s7 += products(weights_tile[w_from + 7u * w_step], one, two);
      }
    }
    {
      let one = x_tile[x_from + 1u];
      let two = second_token(x_from + 1u);
      s0 += products(weights_tile[w_from + 1u], one, two);
      s1 += products(weights_tile[w_from + w_step + 1u], one, two);
      s2 += products(weights_tile[w_from + 2u * w_step + 1u], one, two);
      s3 += products(weights_tile[w_from + 3u * w_step + 1u], one, two);
      if (!few) {
        s4 += products(weights_tile[w_from + 4u * w_step + 1u], one, two);
        s5 += products(weights_tile[w_from + 5u * w_step + 1u], one, two);
        s6 += products(weights_tile[w_from + 6u * w_step + 1u], one, two);
        s7 += products(weights_tile[w_from + 7u * w_step + 1u], one, two);
      }
    }
    {
      let one = x_tile[x_from + 2u];
      let two = second_token(x_from + 2u);
      s0 += products(weights_tile[w_from + 2u], one, two);
      s1 += products(weights_tile[w_from + w_step + 2u], one, two);
      s2 += products(weights_tile[w_from + 2u * w_step + 2u], one, two);
      s3 += products(weights_tile[w_from + 3u * w_step + 2u], one, two);
      if (!few) {
        s4 += products(weights_tile[w_from + 4u * w_step + 2u], one, two);
        s5 += products(weights_tile[w_from + 5u * w_step + 2u], one, two);
        s6 += products(weights_tile[w_from + 6u * w_step + 2u], one, two);
        s7 += products(weights_tile[w_from + 7u * w_step + 2u], one, two);
      }
    }
    {
      let one = x_tile[x_from + 3u];
      let two = second_token(x_from + 3u);
      s0 += products(weights_tile[w_from + 3u], one, two);
      s1 += products(weights_tile[w_from + w_step + 3u], one, two);
      s2 += products(weights_tile[w_from + 2u * w_step + 3u], one, two);
      s3 += products(weights_tile[w_from + 3u * w_step + 3u], one, two);
      if (!few) {
        s4 += products(weights_tile[w_from + 4u * w_step + 3u], one, two);
        s5 += products(weights_tile[w_from + 5u * w_step + 3u], one, two);
        s6 += products(weights_tile[w_from + 6u * w_step + 3u], one, two);
        s7 += products(weights_tile[w_from + 7u * w_step + 3u], one, two);
      }
    }
    workgroupBarrier();
  }

  // Each token's squares were added up by four invocations; the tile passes them on.
  if (normed) {
    x_tile[to].x = square;
    workgroupBarrier();
  }
  let row_first = first_row + along;
  for (var c = 0u; c < select(2u, 1u, few); c++) {
    let t = across + 16u * c;
    if (first_token + t > last_token) { continue; }
    let at = t * pitch;
    let square = (x_tile[at].x + x_tile[at + 1u].x) + (x_tile[at + 2u].x + x_tile[at + 3u].x);
    let token = first_token + t;
    finish_two(token, row_first, row_step, 0u, vec2f(s0[c], s1[c]), square);
    finish_two(token, row_first, row_step, 1u, vec2f(s2[c], s3[c]), square);
    if (few) { continue; }
    finish_two(token, row_first, row_step, 2u, vec2f(s4[c], s5[c]), square);
    finish_two(token, row_first, row_step, 3u, vec2f(s6[c], s7[c]), square);
  }
  add_counts(index);
}

// Quad `quad` of a slice of 16 columns, of two rows and of a token's x.
fn quads_at(row: u32, other: u32, x_at: u32, slice: u32, quad: u32) -> Quads {
  let block = slice / 2u;
  let group = block / 8u;
  let lane = 4u * (slice % 2u) + quad;
  let at = 4u * slice + quad;
  let v = x[x_at + at];
  let first = quad_weights(row, group, lane, block % 8u);
  let second = quad_weights(other, group, lane, block % 8u);
  if (!normed) { return Quads(first, second, v, 0.0); }
  return Quads(first, second, v * norm[at], dot(v, v));
}

// A quad of the invocation's second token; the first's is at `first`.
fn second_token(first: u32) -> vec4f {
  if (few) { return vec4f(); }
  return x_tile[first + 16u * pitch];
}

fn products(weights: vec4f, one: vec4f, two: vec4f) -> vec2f {
  if (few) { return vec2f(dot(weights, one), 0.0); }
  return vec2f(dot(weights, one), dot(weights, two));
}
