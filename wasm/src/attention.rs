//! Attention of one token over a paged KV cache, for the query heads that share a KV head.
//!
//! f32 arithmetic. Keys and values are read from memory once: a page (8 KB of f16 keys at head_dim 128) stays in L1 while the query heads pass over
//! it in tiles of four, which share the widening. Scores are kept, so that softmax subtracts the true maximum.

use core::ops::Range;

use crate::exp::exp_negative;
use crate::float::{element, load4};
use crate::simd::*;

struct Call {
    q: *const f32,
    n_heads: usize,
    head_dim: usize,
    /// What the offsets in `pages` count from.
    base: *const u8,
    pages: *const u32,
    positions: Range<usize>,
    page_positions: usize,
    scale: f32,
    scores: *mut f32,
    out: *mut f32,
}

/// out[h] = softmax(scale * q[h] . K) V over the positions `first_position..n_positions`; zero where there are none.
///
/// Page i is at byte offset `pages[i]`: K `[page_positions][head_dim]`, then V of the same shape, in `cache_type` (0 f32, 1 f16).
///
/// # Safety
/// `q` and `out` have `n_q_heads * head_dim` floats; `pages` covers the positions; `scores` has room for `n_q_heads * n_positions` floats.
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
    scores: *mut f32,
    out: *mut f32,
) {
    let call = Call {
        q,
        n_heads: n_q_heads,
        head_dim,
        base: core::ptr::null(),
        pages,
        positions: first_position..n_positions,
        page_positions,
        scale,
        scores,
        out,
    };
    if cache_type == 0 {
        attend::<false>(&call);
    } else {
        attend::<true>(&call);
    }
}

/// A step of a tile of query heads over the positions of one page.
trait Step {
    /// `rows` is the page's first key or value, `positions` the page's positions in the sequence, `first` the tile's first head.
    unsafe fn run<const T: usize>(
        call: &Call,
        rows: *const u8,
        positions: Range<usize>,
        skip: usize,
        first: usize,
    );
}

unsafe fn attend<const HALF: bool>(call: &Call) {
    for i in 0..call.n_heads * call.head_dim {
        call.out.add(i).write(0.0);
    }
    if call.positions.is_empty() {
        return;
    }
    for_each_page::<Scores<HALF>>(call, 0);
    for head in 0..call.n_heads {
        let scores = call.scores.add(head * call.positions.end + call.positions.start);
        softmax(scores, call.positions.len());
    }
    let element = if HALF { 2 } else { 4 };
    for_each_page::<Mix<HALF>>(call, call.page_positions * call.head_dim * element);
}

/// Runs a step over all pages and heads; the step's rows begin `offset` bytes into a page.
unsafe fn for_each_page<S: Step>(call: &Call, offset: usize) {
    let per_page = call.page_positions;
    for page in call.positions.start / per_page..call.positions.end.div_ceil(per_page) {
        let rows = call.base.wrapping_add(call.pages.add(page).read() as usize + offset);
        let first = call.positions.start.max(page * per_page);
        let positions = first..call.positions.end.min((page + 1) * per_page);
        let skip = first - page * per_page;
        for head in (0..call.n_heads).step_by(4) {
            match call.n_heads - head {
                1 => S::run::<1>(call, rows, positions.clone(), skip, head),
                2 => S::run::<2>(call, rows, positions.clone(), skip, head),
                3 => S::run::<3>(call, rows, positions.clone(), skip, head),
                _ => S::run::<4>(call, rows, positions.clone(), skip, head),
            }
        }
    }
}

/// scores[h][p] = scale * q[h] . K[p].
struct Scores<const HALF: bool>;

impl<const HALF: bool> Step for Scores<HALF> {
    #[inline(never)]
    unsafe fn run<const T: usize>(
        call: &Call,
        rows: *const u8,
        positions: Range<usize>,
        skip: usize,
        first: usize,
    ) {
        let d = call.head_dim;
        let row_bytes = d * if HALF { 2 } else { 4 };
        let q = call.q.add(first * d);
        let scores = call.scores.add(first * call.positions.end);
        for (i, p) in positions.enumerate() {
            let key = rows.wrapping_add((skip + i) * row_bytes);
            let mut sums = [zero(); T];
            for j in (0..d / 4 * 4).step_by(4) {
                let k = load4::<HALF>(key, j);
                for (h, sum) in sums.iter_mut().enumerate() {
                    *sum = madd(load(q.add(h * d + j)), k, *sum);
                }
            }
            for (h, sum) in sums.into_iter().enumerate() {
                let mut dot = sum_f32(sum);
                for j in d / 4 * 4..d {
                    dot += q.add(h * d + j).read() * element::<HALF>(key, j);
                }
                scores.add(h * call.positions.end + p).write(dot * call.scale);
            }
        }
    }
}

/// out[h] += sum over p of scores[h][p] V[p].
struct Mix<const HALF: bool>;

impl<const HALF: bool> Step for Mix<HALF> {
    #[inline(never)]
    unsafe fn run<const T: usize>(
        call: &Call,
        rows: *const u8,
        positions: Range<usize>,
        skip: usize,
        first: usize,
    ) {
        let d = call.head_dim;
        let row_bytes = d * if HALF { 2 } else { 4 };
        let out = call.out.add(first * d);
        let end = call.positions.end;
        let weights = call.scores.add(first * end + positions.start);
        let values = rows.wrapping_add(skip * row_bytes);
        for j in (0..d / 8 * 8).step_by(8) {
            let mut sums = [[zero(); 2]; T];
            for (h, sum) in sums.iter_mut().enumerate() {
                *sum = [load(out.add(h * d + j)), load(out.add(h * d + j + 4))];
            }
            for i in 0..positions.len() {
                let value = values.wrapping_add(i * row_bytes);
                let v = [load4::<HALF>(value, j), load4::<HALF>(value, j + 4)];
                for (h, sum) in sums.iter_mut().enumerate() {
                    let weight = f32x4_splat(weights.add(h * end + i).read());
                    *sum = [madd(weight, v[0], sum[0]), madd(weight, v[1], sum[1])];
                }
            }
            for (h, sum) in sums.iter().enumerate() {
                store(out.add(h * d + j), sum[0]);
                store(out.add(h * d + j + 4), sum[1]);
            }
        }
        for j in d / 8 * 8..d {
            for h in 0..T {
                let mut sum = out.add(h * d + j).read();
                for i in 0..positions.len() {
                    let value = element::<HALF>(values.wrapping_add(i * row_bytes), j);
                    sum += weights.add(h * end + i).read() * value;
                }
                out.add(h * d + j).write(sum);
            }
        }
    }
}

/// Softmax in place of n > 0 scores. The sum is in f32 by lanes: relative error below n / 4 * 2^-24, for positive terms.
unsafe fn softmax(x: *mut f32, n: usize) {
    let body = n / 4 * 4;
    let mut largest = f32x4_splat(x.read());
    for i in (0..body).step_by(4) {
        largest = f32x4_max(largest, load(x.add(i)));
    }
    let mut max = max_f32(largest);
    for i in body..n {
        max = max.max(x.add(i).read());
    }
    let shift = f32x4_splat(max);
    let mut sums = zero();
    for i in (0..body).step_by(4) {
        let e = exp_negative(f32x4_sub(load(x.add(i)), shift));
        sums = f32x4_add(sums, e);
        store(x.add(i), e);
    }
    let mut sum = sum_f32(sums);
    for i in body..n {
        let e = f32x4_extract_lane::<0>(exp_negative(f32x4_splat(x.add(i).read() - max)));
        sum += e;
        x.add(i).write(e);
    }
    let inverse = 1.0 / sum;
    for i in (0..body).step_by(4) {
        store(x.add(i), f32x4_mul(load(x.add(i)), f32x4_splat(inverse)));
    }
    for i in body..n {
        x.add(i).write(x.add(i).read() * inverse);
    }
}
