// out[token][row] = matrix[row] · x[token] in integers, of a token, of one (y) and its
// experts, or of up to `columns` (2, 4 or 8) for which weights are read and unpacked
// once. The workgroup has `lanes` invocations for `rows` times `rows_each` rows: lanes
// read neighbouring units of a row, `lane_units` at once, so that their reads wait
// together. Before, all of them make blocks of a stretch of x. A row's sum has the same
// order whatever `columns` is.

// Blocks of a stretch, of all columns together
const stretch_blocks = 256u;
var<workgroup> x_low: array<vec4u, stretch_blocks>;
var<workgroup> x_high: array<vec4u, stretch_blocks>;
// What `quantised` calls a block's `by`; in the end what lanes add up
var<workgroup> lane_sums: array<vec4f, stretch_blocks>;

// Sums of one token and four rows: a; of one row's four tokens and four more: a and
// b, of the next row's: c and d
struct Sums { a: vec4f, b: vec4f, c: vec4f, d: vec4f }

@compute @workgroup_size(lanes, rows)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) id: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let token = group.y;
  if (route == route_each && !is_here(token)) { return; }
  let row = lane_row(group.x, id.y);
  let wanted = wanted_rows(token, row);
  var sums = Sums();
  var squares = array<vec4f, 2>();
  if (route == route_sum) {
    let first = token * params.slots;
    for (var choice = first; choice < first + params.slots; choice++) {
      if (is_here(choice)) { add_x(choice, row, wanted, id, index, &sums, &squares); }
    }
  } else {
    add_x(token, row, wanted, id, index, &sums, &squares);
  }
  if (normed) {
    squares[0] = sum_over_lanes(squares[0], id.x, id.y);
    if (columns > 4u) { squares[1] = sum_over_lanes(squares[1], id.x, id.y); }
  }
  let total = sum_over_lanes(sums.a, id.x, id.y);
  if (columns == 1u) {
    finish_lane(token, row, id.x, total, squares[0].x);
  } else {
    finish_tokens(0u, row, id.x, total, sum_over_lanes(sums.c, id.x, id.y), squares[0]);
    if (columns > 4u) {
      let others = sum_over_lanes(sums.b, id.x, id.y);
      finish_tokens(4u, row, id.x, others, sum_over_lanes(sums.d, id.x, id.y), squares[1]);
    }
  }
  add_counts(index);
}

// Adds a lane's products with the rows from `first_row` on: of the x of a token or a
// choice, or of the first `columns` tokens.
fn add_x(
  from_token: u32,
  first_row: u32,
  wanted: vec2<bool>,
  id: vec3u,
  index: u32,
  sums: ptr<function, Sums>,
  squares: ptr<function, array<vec4f, 2>>,
) {
  let row = first_row + expert_row(from_token);
  let blocks = 8u * params.groups;
  let stretch = stretch_blocks / columns;
  for (var first = 0u; first < blocks; first += stretch) {
    let count = min(stretch, blocks - first);
    workgroupBarrier();
    for (var i = index; i < count * columns; i += lanes * rows) {
      let column = i / count;
      let block = first + i % count;
      let token = select(from_token, min(column, product_count() - 1u), columns > 1u);
      let made = block_of(x_first(token) + 8u * block, 8u * block);
      let to = column * stretch + i % count;
      x_low[to] = made.low;
      x_high[to] = made.high;
      lane_sums[to] = made.by;
    }
    workgroupBarrier();
    for (var at = id.x; at < count; at += lanes * lane_units) {
      *sums = add_rows(row, *sums, first + at, at, count, wanted);
    }
    if (normed) {
      for (var at = id.x; at < count; at += lanes) {
        (*squares)[0] += squares_of(at);
        if (columns > 4u) { (*squares)[1] += squares_of(at + 4u * stretch); }
      }
    }
  }
}

// Which of the invocation's rows are read: all, or, of one token, those of two that
// its mask leaves.
fn wanted_rows(token: u32, row: u32) -> vec2<bool> {
  if (columns > 1u || mask == mask_all || paired) { return vec2<bool>(row < params.rows); }
  return vec2<bool>(is_computed(token, row), is_computed(token, row + 1u));
}

// Four tokens' results of the invocation's two rows, a lane for each token.
fn finish_tokens(first: u32, row: u32, lane: u32, one: vec4f, two: vec4f, squares: vec4f) {
  let token = first + lane;
  if (lane >= 4u || token >= product_count()) { return; }
  if (paired) {
    finish_neuron(token, row, one[lane], two[lane], squares[lane]);
  } else {
    finish(token, row, one[lane], squares[lane]);
    finish(token, row + 1u, two[lane], squares[lane]);
  }
}

fn block_at(at: u32) -> Block {
  return Block(x_low[at], x_high[at], lane_sums[at]);
}

// Σ x² of a block of each of four tokens.
fn squares_of(at: u32) -> vec4f {
  let stretch = stretch_blocks / columns;
  var squares = vec4f();
  squares.x = lane_sums[at].w;
  if (columns > 1u) { squares.y = lane_sums[at + stretch].w; }
  if (columns > 2u) {
    squares.z = lane_sums[at + 2u * stretch].w;
    squares.w = lane_sums[at + 3u * stretch].w;
  }
  return squares;
}

// A unit times the blocks of four tokens.
fn dot_tokens(unit: Integers, at: u32, halves: bool) -> vec4f {
  let stretch = stretch_blocks / columns;
  var dots = vec4f();
  dots.x = dot_block(unit, block_at(at), halves);
  dots.y = dot_block(unit, block_at(at + stretch), halves);
  if (columns > 2u) {
    dots.z = dot_block(unit, block_at(at + 2u * stretch), halves);
    dots.w = dot_block(unit, block_at(at + 3u * stretch), halves);
  }
  return dots;
}
