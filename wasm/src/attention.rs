//! Attention of one token over a paged KV cache, for the query heads that share a KV head.
//!
//! f32 arithmetic, four heads at a time: they share the widening of keys and values, and their scores of a position are one vector. A page's
//! keys and values are read together, so that the cache passes by once, in sequence; what was summed up before is scaled down when a larger
//! score comes (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax").
//!
//! Halves are widened without their last step, the multiplication by 2^112 (see `load4_raw`): queries and weights are 2^60 times as large
//! instead, and sums are multiplied by what is missing, 2^52. All of it is exact.

use core::ops::Range;

use crate::exp::exp_negative;
use crate::f16::load4_raw_f16;
use crate::float::element;
use crate::simd::*;

/// Heads of a tile.
const TILE: usize = 4;

/// Positions of a page, at most.
const MAX_PAGE: usize = 64;

/// Elements of a head, at most.
const MAX_HEAD: usize = 1024;

/// Of f16 keys and values.
const ENLARGE: f32 = f32::from_bits((127 + 60) << 23);
const RESTORE: f32 = f32::from_bits((127 + 52) << 23);

struct Call {
    q: *const f32,
    head_dim: usize,
    /// What the offsets in `pages` count from.
    base: *const u8,
    pages: *const u32,
    positions: Range<usize>,
    page_positions: usize,
    scale: f32,
    out: *mut f32,
}

/// out[h] = softmax(scale * q[h] . K) V over the positions `first_position..n_positions`; zero where there are none.
///
/// Page i is at byte offset `pages[i]`: K `[page_positions][head_dim]`, then V of the same shape, in `cache_type` (0 f32, 1 f16).
///
/// # Safety
/// `q` and `out` have `n_q_heads * head_dim` floats, head_dim at most 1024, page_positions at most 64; `pages` covers the positions.
#[no_mangle]
pub unsafe extern "C" fn attention(
    cache_type: u32,
    q: *const f32,
    n_q_heads: usize,
    head_dim: usize,
    pages: *const u32,
    n_positions: usize,
    first_position: usize,
    page_positions: usize,
    scale: f32,
    out: *mut f32,
) {
    for head in (0..n_q_heads).step_by(TILE) {
        let call = Call {
            q: q.wrapping_add(head * head_dim),
            head_dim,
            base: core::ptr::null(),
            pages,
            positions: first_position..n_positions,
            page_positions,
            scale,
            out: out.wrapping_add(head * head_dim),
        };
        match (n_q_heads - head, cache_type) {
            (1, 0) => attend::<false, 1>(&call),
            (2, 0) => attend::<false, 2>(&call),
            (3, 0) => attend::<false, 3>(&call),
            (_, 0) => attend::<false, 4>(&call),
            (1, _) => attend::<true, 1>(&call),
            (2, _) => attend::<true, 2>(&call),
            (3, _) => attend::<true, 3>(&call),
            _ => attend::<true, 4>(&call),
        }
    }
}

impl Call {
    /// The first key and the first value in range of each page, and how many.
    unsafe fn pages(
        &self,
        row_bytes: usize,
    ) -> impl Iterator<Item = (*const u8, *const u8, usize)> + '_ {
        let n = self.page_positions;
        let Range { start, end } = self.positions;
        (start / n..end.div_ceil(n)).map(move |page| {
            let first = start.max(page * n);
            let keys = self.base.wrapping_add(self.pages.add(page).read() as usize);
            let keys = keys.wrapping_add((first - page * n) * row_bytes);
            (keys, keys.wrapping_add(n * row_bytes), end.min((page + 1) * n) - first)
        })
    }
}

/// Four elements of a row of the cache from element `i` on; halves 2^-112 times as large.
#[inline(always)]
unsafe fn load4_raw<const HALF: bool>(row: *const u8, i: usize) -> v128 {
    if HALF {
        load4_raw_f16(row.cast::<u16>().add(i))
    } else {
        load(row.cast::<f32>().add(i))
    }
}

unsafe fn attend<const HALF: bool, const T: usize>(call: &Call) {
    let d = call.head_dim;
    for i in 0..T * d {
        call.out.add(i).write(0.0);
    }
    if call.positions.is_empty() {
        return;
    }
    let (enlarge, restore) = if HALF { (ENLARGE, RESTORE) } else { (1.0, 1.0) };
    // Four elements of each head, then the next four.
    let mut queries = [0f32; TILE * MAX_HEAD];
    for h in 0..T {
        for i in 0..d {
            queries[(i / 4 * T + h) * 4 + i % 4] = call.q.add(h * d + i).read() * enlarge;
        }
    }
    let row_bytes = d * if HALF { 2 } else { 4 };
    let scale = f32x4_splat(call.scale * restore);
    let mut scores = [zero(); MAX_PAGE];
    let mut largest = f32x4_splat(f32::NEG_INFINITY);
    let mut sum = zero();
    for (keys, values, n) in call.pages(row_bytes) {
        let scores = &mut scores[..n];
        page_scores::<HALF, T>(&queries, keys, row_bytes, d, scale, scores);
        let new = scores.iter().fold(largest, |most, &score| f32x4_max(most, score));
        let shrink = exp_negative(f32x4_sub(largest, new));
        largest = new;
        sum = f32x4_mul(sum, shrink);
        for score in scores.iter_mut() {
            let e = exp_negative(f32x4_sub(*score, largest));
            sum = f32x4_add(sum, e);
            *score = f32x4_mul(e, f32x4_splat(enlarge));
        }
        add_values::<HALF, T>(call, values, row_bytes, shrink, scores);
    }
    let inverse = lanes(f32x4_div(f32x4_splat(restore), sum));
    for h in 0..T {
        for i in 0..d {
            *call.out.add(h * d + i) *= inverse[h];
        }
    }
}

/// The four lanes as numbers.
#[inline(always)]
fn lanes(a: v128) -> [f32; 4] {
    let mut lanes = [0.0; 4];
    // SAFETY: it has 16 bytes.
    unsafe { store(lanes.as_mut_ptr(), a) };
    lanes
}

/// scores[p][h] = scale * q[h] . K[p].
#[inline(never)]
unsafe fn page_scores<const HALF: bool, const T: usize>(
    queries: &[f32],
    keys: *const u8,
    row_bytes: usize,
    d: usize,
    scale: v128,
    scores: &mut [v128],
) {
    for (i, pair) in scores.chunks_mut(2).enumerate() {
        let first = keys.add(2 * i * row_bytes);
        // The second of a pair without one is the first.
        let both = [first, first.add((pair.len() - 1) * row_bytes)];
        let dots = dots::<HALF, T>(queries, both, d);
        for (score, dot) in pair.iter_mut().zip(dots) {
            *score = f32x4_mul(dot, scale);
        }
    }
}

/// The dots of `T` queries with two keys, a lane a query.
#[inline(always)]
unsafe fn dots<const HALF: bool, const T: usize>(
    queries: &[f32],
    keys: [*const u8; 2],
    d: usize,
) -> [v128; 2] {
    let mut sums = [[zero(); TILE]; 2];
    let mut q = queries.as_ptr();
    for j in 0..d / 4 {
        let k = keys.map(|key| load4_raw::<HALF>(key, 4 * j));
        for h in 0..T {
            let q = load(q.add(4 * h));
            for p in 0..2 {
                sums[p][h] = madd(q, k[p], sums[p][h]);
            }
        }
        q = q.add(4 * T);
    }
    if !d.is_multiple_of(4) {
        for p in 0..2 {
            // A row's end, as four elements of which some are zero.
            let mut last = [0f32; 4];
            for i in 0..d % 4 {
                last[i] = element::<HALF>(keys[p], d / 4 * 4 + i) * if HALF { SHRINK } else { 1.0 };
            }
            for h in 0..T {
                sums[p][h] = madd(load(q.add(4 * h)), load(last.as_ptr()), sums[p][h]);
            }
        }
    }
    sums.map(|sums| {
        let [a, b, c, d] = transpose(sums);
        f32x4_add(f32x4_add(a, b), f32x4_add(c, d))
    })
}

/// 2^-112: what a half that was not widened whole is too small by.
const SHRINK: f32 = f32::from_bits((127 - 112) << 23);

/// out[h] = shrink[h] * out[h] + sum over p of weights[p][h] V[p].
#[inline(never)]
unsafe fn add_values<const HALF: bool, const T: usize>(
    call: &Call,
    values: *const u8,
    row_bytes: usize,
    shrink: v128,
    weights: &[v128],
) {
    let d = call.head_dim;
    let shrink = lanes(shrink);
    for j in (0..d / 8 * 8).step_by(8) {
        let mut sums = [[zero(); 2]; T];
        for h in 0..T {
            let out = call.out.add(h * d + j);
            let shrink = f32x4_splat(shrink[h]);
            sums[h] = [f32x4_mul(load(out), shrink), f32x4_mul(load(out.add(4)), shrink)];
        }
        let mut value = values;
        for weight in weights {
            let v = [load4_raw::<HALF>(value, j), load4_raw::<HALF>(value, j + 4)];
            let weight: *const f32 = (weight as *const v128).cast();
            for h in 0..T {
                let w = f32x4_splat(weight.add(h).read());
                sums[h] = [madd(w, v[0], sums[h][0]), madd(w, v[1], sums[h][1])];
            }
            value = value.wrapping_add(row_bytes);
        }
        for h in 0..T {
            let out = call.out.add(h * d + j);
            store(out, sums[h][0]);
            store(out.add(4), sums[h][1]);
        }
    }
    for j in d / 8 * 8..d {
        for h in 0..T {
            let mut sum = *call.out.add(h * d + j) * shrink[h];
            for (i, &weight) in weights.iter().enumerate() {
                let value = element::<HALF>(values.wrapping_add(i * row_bytes), j);
                sum += lanes(weight)[h] * value * if HALF { SHRINK } else { 1.0 };
            }
            call.out.add(h * d + j).write(sum);
        }
    }
}
