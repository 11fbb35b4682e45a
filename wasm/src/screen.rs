//! A first look at the rows of a matrix of bytes: a copy of each in nibbles (Q4), and a bound of how
//! far the copy's product may be from the row's own.
//!
//! A row w is copied as n + e: nibbles of its columns, and of some columns the nibbles of what those
//! leave, which follow as extra columns. What is left then is r = w - n - e. For the activations x
//! that kernels multiply, whose extra columns x' repeat some of x, rounded in other blocks:
//!
//!   w . x - (n . x + e . x') = r . x + e . (x - x')
//!
//! By Cauchy and Schwarz |r . x| <= |r / d| |d x| for any positive d, a number for each column. The
//! bound is tight where d makes both factors alike in every column: where x is large, r is small
//! (extra columns) or counts for little.

use crate::activations::quantise_block;
use crate::f16::{f16_to_f32, f32_to_f16};
use crate::ggml::Block;
use crate::layout::{BLOCK, Q4};
use crate::pack::{put_blocks, unpack_row};
use crate::simd::*;

/// More than the rounding of sums of squares in f32 can take away, for rows of 2^16 columns.
const ROUNDED: f32 = 1.001;

/// Copies rows of `k` weights, a multiple of 32, behind which come `extra` columns, as many whole
/// blocks: what is left of those that `columns` lists. `norms[i]` is the norm of what is left of row
/// i at last, a column's times its `inverse`. `most` has the largest norms of rows, of their copies,
/// and of extra columns so far.
///
/// # Safety
/// `rows` has `n_rows` packed rows, `row_bytes` apart; `columns` has `extra` numbers below `k`,
/// `inverse` `k` floats, `weights` room for `k + extra`, `out` for as many rows of Q4 with
/// `k + extra` columns, `norms` for `n_rows` floats, and `most` has 3.
#[no_mangle]
pub unsafe extern "C" fn screen_rows(
    kind: u32,
    rows: *const u8,
    row_bytes: usize,
    n_rows: usize,
    k: usize,
    columns: *const u32,
    extra: usize,
    inverse: *const f32,
    weights: *mut f32,
    out: *mut u8,
    out_row_bytes: usize,
    norms: *mut f32,
    most: *mut f32,
) {
    let rest = weights.wrapping_add(k);
    for row in 0..n_rows {
        unpack_row(kind, rows.wrapping_add(row * row_bytes), k, weights);
        let whole = norm(weights, k);
        let block_of = |b: usize| {
            let block = weights.add(b * BLOCK);
            if b * BLOCK >= k {
                for i in 0..BLOCK {
                    let column = columns.add(b * BLOCK - k + i).read() as usize;
                    block.add(i).write(weights.add(column).read());
                }
            }
            take_nibbles(block)
        };
        let copied = core::cell::Cell::new(zero());
        let added = core::cell::Cell::new(zero());
        put_blocks(Q4, 0, 0, k + extra, out.wrapping_add(row * out_row_bytes), |b| {
            let (block, squares) = block_of(b);
            let sum = if b * BLOCK < k { &copied } else { &added };
            sum.set(f32x4_add(sum.get(), squares));
            block
        });
        for i in 0..extra {
            weights.add(columns.add(i).read() as usize).write(rest.add(i).read());
        }
        let mut left = zero();
        for i in (0..k).step_by(4) {
            let part = f32x4_mul(load(weights.add(i)), load(inverse.add(i)));
            left = f32x4_add(left, f32x4_mul(part, part));
        }
        norms.add(row).write(root(left));
        let copy = f32x4_add(copied.get(), added.get());
        for (i, norm) in [whole, root(copy), root(added.get())].into_iter().enumerate() {
            // Not `max`, which would leave NaN out.
            if norm > most.add(i).read() || norm.is_nan() {
                most.add(i).write(norm);
            }
        }
    }
}

/// The root of the sum of four squares, or rather more.
fn root(squares: v128) -> f32 {
    // The squares of numbers below 1e-19 may have been lost.
    sum_f32(squares).sqrt() * ROUNDED + 1e-17
}

/// # Safety
/// `x` has `n` floats, a multiple of 4.
unsafe fn norm(x: *const f32, n: usize) -> f32 {
    let mut squares = zero();
    for i in (0..n).step_by(4) {
        squares = f32x4_add(squares, f32x4_mul(load(x.add(i)), load(x.add(i))));
    }
    root(squares)
}

/// Takes from 32 weights what a block of Q4 holds of them; gives it and the sum of its squares.
///
/// # Safety
/// `weights` has 32 floats.
#[inline(always)]
unsafe fn take_nibbles(weights: *mut f32) -> (Block, v128) {
    let [mut highest, mut lowest] = [zero(); 2];
    for i in (0..BLOCK).step_by(4) {
        let four = load(weights.add(i));
        highest = f32x4_max(highest, four);
        lowest = f32x4_min(lowest, four);
    }
    let (highest, lowest) = (largest_magnitude(highest), -largest_magnitude(f32x4_abs(lowest)));
    // The one of the largest magnitude becomes -8.
    let scale = if highest > -lowest { highest / -8.0 } else { lowest / -8.0 };
    let scale = f16_to_f32(f32_to_f16(scale));
    let inverse = f32x4_splat(if scale == 0.0 { 0.0 } else { 1.0 / scale });
    let mut block = Block { q: [0; 32], scale: [scale; 2], min: [0.0; 2] };
    let mut squares = zero();
    let mut integers = [zero(); 8];
    for i in 0..8 {
        let four = load(weights.add(4 * i));
        let q = f32x4_max(f32x4_min(f32x4_mul(four, inverse), f32x4_splat(7.0)), f32x4_splat(-8.0));
        let q = f32x4_nearest(q);
        integers[i] = i32x4_trunc_sat_f32x4(q);
        let part = f32x4_mul(q, f32x4_splat(scale));
        squares = f32x4_add(squares, f32x4_mul(part, part));
        store(weights.add(4 * i), f32x4_sub(four, part));
    }
    for half in 0..2 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| integers[4 * half + i]);
        let bytes = i8x16_narrow_i16x8(i16x8_narrow_i32x4(a, b), i16x8_narrow_i32x4(c, d));
        store(block.q.as_mut_ptr().add(16 * half), bytes);
    }
    (block, squares)
}

/// Puts the columns that `columns` lists behind `k` activations, and writes three norms: of what
/// kernels make of these, a column's times its `factor`; of x - x'; and again of these, as they are.
///
/// # Safety
/// `x` has `k` floats and room for `extra`, `columns` and `factor` are as in `screen_rows`;
/// `rounded` has room for `k` floats, `norms` for 3.
#[no_mangle]
pub unsafe extern "C" fn screen_input(
    x: *mut f32,
    k: usize,
    columns: *const u32,
    extra: usize,
    factor: *const f32,
    rounded: *mut f32,
    norms: *mut f32,
) {
    for b in 0..k / BLOCK {
        write_rounded(x.add(b * BLOCK), rounded.add(b * BLOCK));
    }
    let mut scaled = zero();
    for i in (0..k).step_by(4) {
        let part = f32x4_mul(load(rounded.add(i)), load(factor.add(i)));
        scaled = f32x4_add(scaled, f32x4_mul(part, part));
    }
    let mut apart = 0.0;
    for i in 0..extra {
        x.add(k + i).write(x.add(columns.add(i).read() as usize).read());
    }
    for b in 0..extra / BLOCK {
        let mut repeated = [0f32; BLOCK];
        write_rounded(x.add(k + b * BLOCK), repeated.as_mut_ptr());
        for i in 0..BLOCK {
            let column = columns.add(b * BLOCK + i).read() as usize;
            let difference = rounded.add(column).read() - repeated[i];
            apart += difference * difference;
        }
    }
    norms.write(root(scaled));
    norms.add(1).write(apart.sqrt() * ROUNDED + 1e-17);
    norms.add(2).write(norm(rounded, k));
}

/// The numbers that a block of activations is quantised to.
///
/// # Safety
/// Both have 32 floats.
unsafe fn write_rounded(x: *const f32, out: *mut f32) {
    let (scale, words) = quantise_block(x);
    for (v, words) in words.into_iter().enumerate() {
        let halves = [i32x4_extend_low_i16x8(words), i32x4_extend_high_i16x8(words)];
        for (i, integers) in halves.into_iter().enumerate() {
            let four = f32x4_mul(f32x4_convert_i32x4(integers), f32x4_splat(scale));
            store(out.add(8 * v + 4 * i), four);
        }
    }
}

/// Writes the ids of the `n` values that may reach `least`, ascending: all but those that stay below
/// it when `factor` times their norm is added. Returns how many.
///
/// # Safety
/// `values` and `norms` have `n` floats; `ids` has room for as many.
#[no_mangle]
pub unsafe extern "C" fn select_reaching(
    values: *const f32,
    norms: *const f32,
    n: usize,
    factor: f32,
    least: f32,
    ids: *mut u32,
) -> usize {
    let mut count = 0;
    let body = n / 16 * 16;
    let (factors, leasts) = (f32x4_splat(factor), f32x4_splat(least));
    let mut put = |id: usize| {
        ids.add(count).write(id as u32);
        count += 1;
    };
    for i in (0..body).step_by(16) {
        let below = [0, 4, 8, 12].map(|j| {
            let bound = f32x4_mul(load(norms.add(i + j)), factors);
            f32x4_lt(f32x4_add(load(values.add(i + j)), bound), leasts)
        });
        let [a, b, c, d] = below;
        if i32x4_all_true(v128_and(v128_and(a, b), v128_and(c, d))) {
            continue;
        }
        for (j, below) in below.into_iter().enumerate() {
            let bits = i32x4_bitmask(below);
            for lane in (0..4).filter(|lane| bits >> lane & 1 == 0) {
                put(i + 4 * j + lane);
            }
        }
    }
    for i in body..n {
        let bound = norms.add(i).read() * factor;
        let is_below = values.add(i).read() + bound < least;
        if !is_below {
            put(i);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::{Q6_K, Q8_0};
    use crate::layout::{packed_row_bytes, I8, I8H};
    use crate::pack::repack;

    const K: usize = 768;
    const EXTRA: usize = 64;
    const ROWS: usize = 9;

    /// Of rows in these types, with weights that cancel, repeat and differ by powers of ten, for
    /// activations that are made of what is left of a row.
    #[test]
    fn products_stay_within_their_bounds() {
        let mut state = 3u32;
        let mut next = || {
            state = state.wrapping_mul(0x915f_77f5).wrapping_add(12345);
            state >> 8
        };
        let mut tightest = 0f64;
        for round in 0..40 {
            let (id, kind, block, bytes, half) =
                [(Q8_0, I8, 32, 34, 0), (Q6_K, I8H, 256, 210, 208)][round % 2];
            let stride = K / block * bytes;
            let mut source: Vec<u8> = (0..ROWS * stride).map(|_| next() as u8).collect();
            for at in (0..source.len()).step_by(bytes) {
                let bits = (0x0400 + next() % 0x4000 + 0x8000 * (next() % 2)) as u16;
                source[at + half..at + half + 2].copy_from_slice(&bits.to_le_bytes());
            }
            let row_bytes = packed_row_bytes(kind, K);
            let mut packed = vec![0u8; ROWS * row_bytes];
            let columns: Vec<u32> = (0..EXTRA as u32).map(|i| (i * 37 + 5) % K as u32).collect();
            let powers: Vec<f32> =
                (0..K / BLOCK).map(|_| 2f32.powi((next() % 3) as i32 - 1)).collect();
            let factor: Vec<f32> = (0..K).map(|i| powers[i / BLOCK]).collect();
            let inverse: Vec<f32> = factor.iter().map(|d| 1.0 / d).collect();
            let mut weights = vec![0f32; K + EXTRA];
            let copy_bytes = packed_row_bytes(Q4, K + EXTRA);
            let mut copies = vec![0u8; ROWS * copy_bytes];
            let (mut norms, mut most) = ([0f32; ROWS], [0f32; 3]);
            let mut input = [0f32; 3];
            unsafe {
                repack(
                    id,
                    kind,
                    source.as_ptr(),
                    ROWS,
                    stride,
                    0,
                    K,
                    packed.as_mut_ptr(),
                    row_bytes,
                );
                screen_rows(
                    kind,
                    packed.as_ptr(),
                    row_bytes,
                    ROWS,
                    K,
                    columns.as_ptr(),
                    EXTRA,
                    inverse.as_ptr(),
                    weights.as_mut_ptr(),
                    copies.as_mut_ptr(),
                    copy_bytes,
                    norms.as_mut_ptr(),
                    most.as_mut_ptr(),
                );
            }
            let unpacked = |kind, rows: &[u8], bytes: usize, r: usize, k: usize| {
                let mut row = vec![0f32; k];
                unsafe { unpack_row(kind, rows.as_ptr().add(r * bytes), k, row.as_mut_ptr()) };
                row
            };
            for against in 0..ROWS {
                let w = unpacked(kind, &packed, row_bytes, against, K);
                let copy = unpacked(Q4, &copies, copy_bytes, against, K + EXTRA);
                let mut left: Vec<f32> = (0..K).map(|i| w[i] - copy[i]).collect();
                for (j, &column) in columns.iter().enumerate() {
                    left[column as usize] -= copy[K + j];
                }
                // What makes the bound an equation, but for rounding; or signs alone.
                let mut x: Vec<f32> = (0..K)
                    .map(|i| match round % 4 {
                        0 | 1 => left[i] * inverse[i] * inverse[i],
                        2 => left[i].signum(),
                        _ => next() as f32 - 8e6,
                    })
                    .chain([0.0; EXTRA])
                    .collect();
                let mut rounded = vec![0f32; K];
                unsafe {
                    screen_input(
                        x.as_mut_ptr(),
                        K,
                        columns.as_ptr(),
                        EXTRA,
                        factor.as_ptr(),
                        rounded.as_mut_ptr(),
                        input.as_mut_ptr(),
                    );
                }
                let mut repeated = vec![0f32; EXTRA];
                for b in 0..EXTRA / BLOCK {
                    unsafe {
                        let at = b * BLOCK;
                        write_rounded(x[K + at..].as_ptr(), repeated[at..].as_mut_ptr());
                    }
                }
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                };
                for r in 0..ROWS {
                    let w = unpacked(kind, &packed, row_bytes, r, K);
                    let copy = unpacked(Q4, &copies, copy_bytes, r, K + EXTRA);
                    let apart =
                        dot(&w, &rounded) - dot(&copy[..K], &rounded) - dot(&copy[K..], &repeated);
                    let [scaled, moved, _] = input.map(f64::from);
                    let bound = f64::from(norms[r]) * scaled + f64::from(most[2]) * moved;
                    assert!(apart.abs() <= bound, "off by {apart} > {bound}");
                    tightest = tightest.max(apart.abs() / bound);
                    let squares = dot(&w, &w).sqrt();
                    assert!(squares <= f64::from(most[0]) && most[0] < 1e9);
                    assert!(dot(&copy, &copy).sqrt() <= f64::from(most[1]));
                }
            }
        }
        assert!(tightest > 0.5, "no bound is nearly reached: {tightest}");
    }

    #[test]
    fn selects_what_may_reach() {
        let values: Vec<f32> = (0..37).map(|i| (i % 7) as f32).collect();
        let norms: Vec<f32> = (0..37).map(|i| if i == 20 { f32::NAN } else { 0.5 }).collect();
        let mut ids = [0; 37];
        let count = unsafe {
            select_reaching(values.as_ptr(), norms.as_ptr(), 37, 2.0, 6.5, ids.as_mut_ptr())
        };
        let expected: Vec<u32> = (0..37).filter(|i| i % 7 == 6 || *i == 20).collect();
        assert_eq!(ids[..count], expected);
    }
}
