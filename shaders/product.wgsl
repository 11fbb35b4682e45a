// What the kernels of matrix products share: a row of the matrix times the
// normed x of a token, and what becomes of it. Where rows are of several experts, a
// result is of a token's choice, number slots · token + slot, and called token here;
// or of a token, the sum over its choices.
var<workgroup> counted: array<atomic<u32>, 3>;

fn product_count() -> u32 {
  return select(step[token_count], step[wanted_count], gathered);
}

// Where the matrix has the first row of the expert of a choice.
fn expert_row(choice: u32) -> u32 {
  if (route == route_none) { return 0u; }
  return (expert_of(choice) - params.expert_first) * params.rows;
}

fn expert_of(choice: u32) -> u32 {
  return chosen_expert(choice / params.slots, choice % params.slots);
}

// Whether the rows of a choice's expert are in this piece of the matrix.
fn is_here(choice: u32) -> bool {
  return expert_of(choice) - params.expert_first < params.expert_count;
}

// The first vector of x for result number `token`, or for a choice.
fn x_first(token: u32) -> u32 {
  if (route != route_none) { return token / params.x_slots * params.x_stride; }
  if (gathered) {
    return token_at(step[wanted_first] + token, record_wanted) * params.x_stride;
  }
  return token * params.x_stride;
}

fn out_at(token: u32, row: u32) -> u32 {
  return token * params.out_stride + params.out_first + row;
}

fn is_computed(token: u32, row: u32) -> bool {
  if (row >= params.rows) { return false; }
  switch (mask) {
    case mask_positive: { return scores[out_at(token, row)] > params.gate_threshold; }
    case mask_threshold: { return scores[out_at(token, row)] >= params.threshold; }
    default: { return true; }
  }
}

// `sum` is Σ weight · x · norm, `squares` is Σ x².
fn finish(token: u32, row: u32, sum: f32, squares: f32) {
  if (row >= params.padded_rows) { return; }
  let at = out_at(token, row);
  let is_wanted = is_counted(token, row);
  var value = select(0.0, result(sum, squares, params.out_first + bias_at(token, row)), is_wanted);
  switch (epilogue) {
    case epilogue_add: { out[at] += value; }
    case epilogue_relu: { out[at] = max(value, 0.0); }
    case epilogue_drelu, epilogue_reglu, epilogue_relu2, epilogue_swiglu, epilogue_geglu, epilogue_swiglu_oai: {
      if (row >= params.rows) { value = 0.0; }
      else if (gated) { value = activated(scores[at], value); }
      else { value = activated(value, 1.0); }
      out[at] = weighted(token, value);
    }
    default: { out[at] = value; }
  }
}

// The same of a neuron, whose rows of gate and of up were multiplied together.
fn finish_neuron(token: u32, row: u32, gate: f32, up: f32, squares: f32) {
  if (row >= params.padded_rows) { return; }
  let at = out_at(token, row);
  let is_wanted = is_counted(token, row);
  let bias = bias_at(token, row);
  let g = select(0.0, result(gate, squares, bias), is_wanted);
  let u = result(up, squares, params.up_bias + bias);
  var value = 0.0;
  if (row < params.rows) { value = activated(g, u); }
  out[at] = weighted(token, value);
}

// Where a row's bias is: each expert has its own.
fn bias_at(token: u32, row: u32) -> u32 {
  if (route != route_each) { return row; }
  return expert_of(token) * params.rows + row;
}

// h as much as the choice counts.
fn weighted(token: u32, h: f32) -> f32 {
  if (route != route_each) { return h; }
  return h * expert_weight(token / params.slots, token % params.slots);
}

// Whether a row is computed; counts those that a threshold leaves.
fn is_counted(token: u32, row: u32) -> bool {
  let is_wanted = is_computed(token, row);
  if (mask == mask_threshold && is_wanted) { atomicAdd(&counted[counter_predicted], 1u); }
  return is_wanted;
}

fn result(sum: f32, squares: f32, bias_number: u32) -> f32 {
  var value = sum;
  if (normed) {
    value *= inverseSqrt(squares / f32(params.columns) + params.epsilon);
  }
  if (scaled) { value *= params.factor; }
  if (biased) { value += bias[bias_number]; }
  if (capped) { value = soft_cap(value, params.cap); }
  return value;
}

// h of a neuron from its g and u; counts it.
fn activated(g: f32, u: f32) -> f32 {
  let is_positive = g > params.gate_threshold;
  var h = select(0.0, g, is_positive);
  switch (epilogue) {
    case epilogue_drelu: { h *= max(u, 0.0); }
    case epilogue_reglu: { h *= u; }
    case epilogue_relu2: { h *= h * u; }
    case epilogue_swiglu: { h = g / (1.0 + exp(-g)) * u; }
    case epilogue_swiglu_oai: {
      let x = min(g, 7.0);
      h = x / (1.0 + exp(-1.702 * x)) * (clamp(u, -7.0, 7.0) + 1.0);
    }
    // 0.5 · (1 + tanh z) is a sigmoid of 2z; √(8 / π)
    default: { h = g / (1.0 + exp(-1.5957691216 * (g + 0.044715 * g * g * g))) * u; }
  }
  if (is_positive) { atomicAdd(&counted[counter_gate_positive], 1u); }
  if (h != 0.0) { atomicAdd(&counted[counter_active], 1u); }
  return h;
}

// Adds what the workgroup counted; `index` is that of the invocation.
fn add_counts(index: u32) {
  if (mask == mask_threshold || epilogue >= epilogue_drelu) {
    workgroupBarrier();
    if (index < 3u) {
      atomicAdd(&counters[params.counter + counter_set + index], atomicLoad(&counted[index]));
    }
  }
}
