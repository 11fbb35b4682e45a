// What the kernels of matrix products share: a row of the matrix times the
// normed x of a token, and what becomes of it.
var<workgroup> counted: array<atomic<u32>, 3>;

fn product_count() -> u32 {
  return select(step[token_count], step[wanted_count], gathered);
}

// The first vector of x for result number `token`.
fn x_first(token: u32) -> u32 {
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
  var value = select(0.0, result(sum, squares, params.out_first + row), is_wanted);
  switch (epilogue) {
    case epilogue_add: { out[at] += value; }
    case epilogue_relu: { out[at] = max(value, 0.0); }
    case epilogue_drelu, epilogue_reglu, epilogue_relu2, epilogue_swiglu, epilogue_geglu, epilogue_swiglu_oai: {
      if (row >= params.rows) { value = 0.0; }
      else if (gated) { value = activated(scores[at], value); }
      else { value = activated(value, 1.0); }
      out[at] = value;
    }
    default: { out[at] = value; }
  }
}

// The same of a neuron, whose rows of gate and of up were multiplied together.
fn finish_neuron(token: u32, row: u32, gate: f32, up: f32, squares: f32) {
  if (row >= params.padded_rows) { return; }
  let at = out_at(token, row);
  let is_wanted = is_counted(token, row);
  let g = select(0.0, result(gate, squares, row), is_wanted);
  let u = result(up, squares, params.padded_rows + row);
  var value = 0.0;
  if (row < params.rows) { value = activated(g, u); }
  out[at] = value;
}

// Whether a row is computed; counts those that a threshold leaves.
fn is_counted(token: u32, row: u32) -> bool {
  let is_wanted = is_computed(token, row);
  if (mask == mask_threshold && is_wanted) { atomicAdd(&counted[counter_predicted], 1u); }
  return is_wanted;
}

fn result(sum: f32, squares: f32, bias_at: u32) -> f32 {
  var value = sum;
  if (normed) {
    value *= inverseSqrt(squares / f32(params.columns) + params.epsilon);
  }
  if (scaled) { value *= params.factor; }
  if (biased) { value += bias[bias_at]; }
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
