// out[token][row] = matrix[row] · x[token], in tiles of 64 rows and
// 8 · `tokens_each` tokens: an invocation computes 8 rows of `tokens_each` tokens.
const tile_rows = 64u;
const counter_set = 3u;
override tokens_each: u32 = 4;

// A unit of each row and of each token, padded by a vector against bank conflicts
const pitch = 9u;
var<workgroup> weights_tile: array<vec4f, 576>;
var<workgroup> x_tile: array<vec4f, 288>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let first_row = group.x * tile_rows;
  let first_token = group.y * 8u * tokens_each;
  let across = index % 8u;
  let along = index / 8u;
  let count = product_count();

  // Tokens that this invocation reads into the tile
  var x_at: array<u32, 4>;
  for (var c = 0u; c < tokens_each; c++) {
    x_at[c] = x_first(min(first_token + along + 8u * c, count - 1u));
  }
  var sums: array<array<f32, 8>, 4>;
  var squares: array<f32, 4>;

  for (var unit = 0u; unit < 8u * product.groups; unit++) {
    let row = min(first_row + index, product.rows - 1u);
    var weights = unit_weights(row, unit);
    for (var j = 0u; j < 8u; j++) { weights_tile[index * pitch + j] = weights[j]; }
    let quad = 64u * (unit / 8u) + unit % 8u + 8u * across;
    for (var c = 0u; c < tokens_each; c++) {
      var v = x[x_at[c] + quad];
      if (normed) {
        squares[c] += dot(v, v);
        v *= norm[quad];
      }
      x_tile[(along + 8u * c) * pitch + across] = v;
    }
    workgroupBarrier();
    for (var j = 0u; j < 8u; j++) {
      // Each is read once, then used for all tokens.
      for (var r = 0u; r < 8u; r++) {
        weights[r] = weights_tile[(along + 8u * r) * pitch + j];
      }
      for (var c = 0u; c < tokens_each; c++) {
        let v = x_tile[(across + 8u * c) * pitch + j];
        for (var r = 0u; r < 8u; r++) { sums[c][r] += dot(weights[r], v); }
      }
    }
    workgroupBarrier();
  }

  // Each token's squares were added up by eight invocations; the tile passes them on.
  if (normed) {
    for (var c = 0u; c < tokens_each; c++) {
      x_tile[(along + 8u * c) * pitch + across].x = squares[c];
    }
    workgroupBarrier();
  }
  for (var c = 0u; c < tokens_each; c++) {
    let token = across + 8u * c;
    if (first_token + token >= count) { continue; }
    var square = 0.0;
    for (var i = 0u; i < 8u; i++) { square += x_tile[token * pitch + i].x; }
    for (var r = 0u; r < 8u; r++) {
      finish(first_token + token, first_row + along + 8u * r, sums[c][r], square);
    }
  }
  add_counts(index);
}
