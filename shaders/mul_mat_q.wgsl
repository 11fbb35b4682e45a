// out[token][row] = matrix[row] · x[token] in integers, in tiles of 64 rows and 32
// tokens, two blocks of columns at a time: an invocation computes 8 rows of 2 tokens.
// What it puts into the tiles it reads while the blocks before are multiplied.
var<workgroup> rows_low: array<vec4u, 128>;
var<workgroup> rows_high: array<vec4u, 128>;
// Scales and minimums
var<workgroup> rows_by: array<vec4f, 128>;
var<workgroup> x_low: array<vec4u, 64>;
var<workgroup> x_high: array<vec4u, 64>;
var<workgroup> x_by: array<vec4f, 64>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let first_row = tile_first(group.x);
  let first_token = group.y * many_tokens;
  let last_token = product_count() - 1u;

  // What this invocation reads: a unit of a row, and one in two a block of a token
  let side = index % 2u;
  let slot = index / 2u;
  let row = tile_row(first_row, slot, 8u);
  let x_at = x_first(min(first_token + slot, last_token));
  let to = 64u * side + slot;
  let x_to = 32u * side + slot;

  // What it computes: every 8th row from `along` on, tokens `across` and `across` + 16
  let across = index % 16u;
  let along = index / 16u;
  var s0 = vec2f();
  var s1 = vec2f();
  var s2 = vec2f();
  var s3 = vec2f();
  var s4 = vec2f();
  var s5 = vec2f();
  var s6 = vec2f();
  var s7 = vec2f();
  var squares = vec2f();

  let end = 8u * params.groups;
  var unit = integers(row, side);
  var block = Block();
  if (index < 64u) { block = block_of(x_at + 8u * side, 8u * side); }
  for (var first = 0u; first < end; first += 2u) {
    rows_low[to] = unit.low;
    rows_high[to] = unit.high;
    rows_by[to] = vec4f(unit.scales, unit.minimums);
    if (index < 64u) {
      x_low[x_to] = block.low;
      x_high[x_to] = block.high;
      x_by[x_to] = block.by;
    }
    workgroupBarrier();
    let next = min(first + 2u, end - 2u) + side;
    unit = integers(row, next);
    if (index < 64u) { block = block_of(x_at + 8u * next, 8u * next); }
    for (var i = 0u; i < 2u; i++) {
      let one = block_at(32u * i + across);
      let two = block_at(32u * i + across + 16u);
      squares += vec2f(one.by.w, two.by.w);
      let at = 64u * i + along;
      s0 += dot_two(at, one, two);
      s1 += dot_two(at + 8u, one, two);
      s2 += dot_two(at + 16u, one, two);
      s3 += dot_two(at + 24u, one, two);
      s4 += dot_two(at + 32u, one, two);
      s5 += dot_two(at + 40u, one, two);
      s6 += dot_two(at + 48u, one, two);
      s7 += dot_two(at + 56u, one, two);
    }
    workgroupBarrier();
  }

  let row_first = first_row + along;
  for (var c = 0u; c < 2u; c++) {
    let token = first_token + across + 16u * c;
    if (token > last_token) { continue; }
    finish_two(token, row_first, 8u, 0u, vec2f(s0[c], s1[c]), squares[c]);
    finish_two(token, row_first, 8u, 1u, vec2f(s2[c], s3[c]), squares[c]);
    finish_two(token, row_first, 8u, 2u, vec2f(s4[c], s5[c]), squares[c]);
    finish_two(token, row_first, 8u, 3u, vec2f(s6[c], s7[c]), squares[c]);
  }
  add_counts(index);
}

fn block_at(at: u32) -> Block {
  return Block(x_low[at], x_high[at], x_by[at]);
}

// A row's unit times the blocks of two tokens.
fn dot_two(at: u32, one: Block, two: Block) -> vec2f {
  let by = rows_by[at];
  let unit = Integers(rows_low[at], rows_high[at], by.xy, by.zw);
  return vec2f(dot_block(unit, one, true), dot_block(unit, two, true));
}
