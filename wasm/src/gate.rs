//! The activation of the FFN, and finding the neurons that fire.

use crate::exp::{gelu, sigmoid, silu};
use crate::simd::*;

pub const DRELU: u32 = 0;
pub const REGLU: u32 = 1;
pub const SWIGLU: u32 = 2;
pub const RELU2: u32 = 3;
pub const GEGLU: u32 = 4;

/// h = act(gate) * act'(up): relu * relu for DRELU, relu * identity for REGLU, silu * identity for
/// SWIGLU, relu squared * identity for RELU2, gelu * identity for GEGLU; otherwise gpt-oss's SwiGLU,
/// g * sigmoid(1.702 g) * (u + 1) with g cut off above 7 and u beyond 7 and -7.
#[inline(always)]
fn activate<const N: usize>(act: u32, gate: [v128; N], up: [v128; N]) -> [v128; N] {
    let positive = |x: v128| f32x4_max(x, zero());
    let times = |x: [v128; N], y: [v128; N]| core::array::from_fn(|i| f32x4_mul(x[i], y[i]));
    match act {
        DRELU => times(gate.map(positive), up.map(positive)),
        REGLU => times(gate.map(positive), up),
        SWIGLU => times(silu(gate), up),
        RELU2 => times(times(gate.map(positive), gate.map(positive)), up),
        GEGLU => times(gelu(gate), up),
        _ => {
            let limit = f32x4_splat(7.0);
            let gate = gate.map(|g| f32x4_min(g, limit));
            let up = up.map(|u| {
                let cut = f32x4_max(f32x4_min(u, limit), f32x4_neg(limit));
                f32x4_add(cut, f32x4_splat(1.0))
            });
            let factors = sigmoid(gate.map(|g| f32x4_mul(g, f32x4_splat(1.702))));
            times(times(gate, factors), up)
        }
    }
}

#[inline(always)]
fn count_nonzero(x: v128) -> u32 {
    i32x4_bitmask(f32x4_ne(x, zero())).count_ones()
}

/// out[i] = act(gate[i]) * act'(up[i]); returns how many are not zero. `act`: 0 dReLU, 1 ReGLU, 2
/// SwiGLU, 3 ReLU squared, 4 GeGLU, 5 gpt-oss's SwiGLU. `out` may be `gate` or `up`.
///
/// # Safety
/// All three have `n` floats.
#[no_mangle]
pub unsafe extern "C" fn gated(
    act: u32,
    gate: *const f32,
    up: *const f32,
    out: *mut f32,
    n: usize,
) -> u32 {
    activate_all(act, gate, |i| load(up.add(i)), |i| up.add(i).read(), out, n)
}

/// out[i] = act(up[i]), of an FFN without a gate; returns how many are not zero. `act` as in
/// `gated`. `out` may be `up`.
///
/// # Safety
/// Both have `n` floats.
#[no_mangle]
pub unsafe extern "C" fn ungated(act: u32, up: *const f32, out: *mut f32, n: usize) -> u32 {
    activate_all(act, up, |_| f32x4_splat(1.0), |_| 1.0, out, n)
}

/// Vectors that share the constants of an activation (see `exp_negatives`).
const VECTORS: usize = 4;

/// `gated`, where `four` gives up[i..i + 4] and `one` gives up[i].
///
/// # Safety
/// As for `gated`.
#[inline(always)]
unsafe fn activate_all(
    act: u32,
    gate: *const f32,
    four: impl Fn(usize) -> v128,
    one: impl Fn(usize) -> f32,
    out: *mut f32,
    n: usize,
) -> u32 {
    let mut nonzero = 0;
    let body = n / (4 * VECTORS) * 4 * VECTORS;
    for first in (0..body).step_by(4 * VECTORS) {
        let at: [usize; VECTORS] = core::array::from_fn(|v| first + 4 * v);
        let h = activate(act, at.map(|i| load(gate.add(i))), at.map(&four));
        for v in 0..VECTORS {
            nonzero += count_nonzero(h[v]);
            store(out.add(at[v]), h[v]);
        }
    }
    for i in body..n {
        let h = activate_one(act, gate.add(i).read(), one(i));
        nonzero += u32::from(h != 0.0);
        out.add(i).write(h);
    }
    nonzero
}

/// h of one neuron.
#[inline(always)]
pub fn activate_one(act: u32, gate: f32, up: f32) -> f32 {
    let [h] = activate(act, [f32x4_splat(gate)], [f32x4_splat(up)]);
    f32x4_extract_lane::<0>(h)
}

/// Writes the ids of g > 0, ascending; returns how many.
///
/// # Safety
/// `g` has `n` floats, `ids` has room for `n`.
#[no_mangle]
pub unsafe extern "C" fn select_positive(g: *const f32, n: usize, ids: *mut u32) -> u32 {
    select(g, n, ids, |v| f32x4_gt(v, zero()))
}

/// How many of g > 0 there are.
///
/// # Safety
/// `g` has `n` floats.
#[no_mangle]
pub unsafe extern "C" fn count_positive(g: *const f32, n: usize) -> u32 {
    let body = n / 4 * 4;
    let mut negated = zero(); // of each lane: a hit is -1
    for i in (0..body).step_by(4) {
        negated = i32x4_add(negated, f32x4_gt(load(g.add(i)), zero()));
    }
    let mut lanes = [0i32; 4];
    store(lanes.as_mut_ptr(), negated);
    let rest = (body..n).filter(|&i| g.add(i).read() > 0.0).count();
    rest as u32 + lanes.iter().sum::<i32>().unsigned_abs()
}

/// Writes the ids of score >= threshold, ascending; returns how many.
///
/// # Safety
/// `score` has `n` floats, `ids` has room for `n`.
#[no_mangle]
pub unsafe extern "C" fn select_at_least(
    score: *const f32,
    n: usize,
    threshold: f32,
    ids: *mut u32,
) -> u32 {
    select(score, n, ids, |v| f32x4_ge(v, f32x4_splat(threshold)))
}

/// Writes the ids of columns that have a score >= threshold in some of `n_rows` rows, ascending;
/// returns how many.
///
/// # Safety
/// `score` has `n_rows` rows of `n` floats, `stride` floats apart; `ids` has room for `n`.
pub unsafe fn select_in_any(
    score: *const f32,
    stride: usize,
    n_rows: usize,
    n: usize,
    threshold: f32,
    ids: *mut u32,
) -> u32 {
    let mut count = 0;
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        let mut any = zero();
        for row in 0..n_rows {
            let four = load(score.wrapping_add(row * stride + i));
            any = v128_or(any, f32x4_ge(four, f32x4_splat(threshold)));
        }
        count = put_ids(ids, count, i, any);
    }
    for i in body..n {
        let asks = |row| score.wrapping_add(row * stride + i).read() >= threshold;
        if (0..n_rows).any(asks) {
            ids.add(count).write(i as u32);
            count += 1;
        }
    }
    count as u32
}

/// Writes those of the `n` ids of `order` whose score >= threshold, in their order; returns how
/// many.
///
/// # Safety
/// `order` lists elements of `score`, `ids` has room for `n`.
#[no_mangle]
pub unsafe extern "C" fn select_in_order(
    score: *const f32,
    order: *const u32,
    n: usize,
    threshold: f32,
    ids: *mut u32,
) -> u32 {
    let mut count = 0;
    for i in 0..n {
        let id = order.add(i).read();
        ids.add(count).write(id);
        count += usize::from(score.add(id as usize).read() >= threshold);
    }
    count as u32
}

/// # Safety
/// `x` has `n` floats, `ids` has room for `n`.
#[inline(always)]
unsafe fn select(x: *const f32, n: usize, ids: *mut u32, test: impl Fn(v128) -> v128) -> u32 {
    let mut count = 0;
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        count = put_ids(ids, count, i, test(load(x.add(i))));
    }
    for i in body..n {
        if v128_any_true(test(f32x4_splat(x.add(i).read()))) {
            ids.add(count).write(i as u32);
            count += 1;
        }
    }
    count as u32
}

/// Writes which of four elements from `first` on are set in `mask` behind `count` ids; returns how
/// many ids there are then.
///
/// # Safety
/// `ids` has room for them.
#[inline(always)]
unsafe fn put_ids(ids: *mut u32, mut count: usize, first: usize, mask: v128) -> usize {
    let mut hits = i32x4_bitmask(mask);
    while hits != 0 {
        ids.add(count).write(first as u32 + hits.trailing_zeros());
        count += 1;
        hits &= hits - 1;
    }
    count
}
