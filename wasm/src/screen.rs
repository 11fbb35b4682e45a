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

use core::cell::Cell;

use crate::activations::quantise_block;
use crate::f16::{f16_to_f32, f32_to_f16};
use crate::ggml::Block;
use crate::layout::{group_bytes, head_bytes, BLOCK, BYTES, GROUP, I8, NIBBLES, Q4};
use crate::pack::{byte_of, put_blocks, unpack_row};
use crate::simd::*;

/// More than the rounding of sums of squares in f32 can take away, for rows of 2^16 columns.
const ROUNDED: f32 = 1.001;

/// Copies rows of `k` weights, a multiple of 32, behind which come `extra` columns, as many whole
/// blocks: what is left of those that `columns` lists. `norms[i]` is the norm of what is left of row
/// i at last, a column's times its `inverse`. `most` has bounds of the norms of rows, of their
/// copies, and of extra columns so far. `squares` has, for columns of whole groups in the order of
/// bytes, the squares of `inverse` over `unit`, rounded up, and 0 for those in `columns`.
///
/// # Safety
/// `rows` has `n_rows` packed rows, `row_bytes` apart; `columns` has `extra` numbers below `k`,
/// `inverse` `k` floats, `squares` as many numbers as whole groups have columns, `weights` room for
/// `k + extra`, `out` for as many rows of Q4 with `k + extra` columns, `norms` for `n_rows` floats,
/// and `most` has 3.
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
    squares: *const i16,
    unit: f32,
    weights: *mut f32,
    out: *mut u8,
    out_row_bytes: usize,
    norms: *mut f32,
    most: *mut f32,
) {
    let rest = weights.wrapping_add(k);
    for index in 0..n_rows {
        let row = rows.wrapping_add(index * row_bytes);
        let to = out.wrapping_add(index * out_row_bytes);
        let whole = if kind == I8 && is_wide(row, k) { k / GROUP } else { 0 };
        let (mut left, scales) = copy_groups(row, whole, squares, unit, to);
        let first = whole * GROUP;
        unpack_row(kind, row.add(whole * group_bytes(kind)), k - first, weights.add(first));
        // The bytes of groups are at most 128, and so are those of their copies.
        let bound = scales * (128 * 128 * BLOCK) as f32;
        let squared = bound + sum_of_squares(weights.add(first), k - first);
        for i in 0..extra {
            let column = columns.add(i).read() as usize;
            let value = if column < first {
                left_of(row, to, column)
            } else {
                f32::NAN // what its block leaves is not known yet
            };
            rest.add(i).write(value);
        }
        let copied = Cell::new(zero());
        let added = Cell::new(zero());
        put_blocks(Q4, whole, 0, k + extra, to, |b| {
            let block = weights.add(b * BLOCK);
            let is_extra = b * BLOCK >= k;
            for i in b * BLOCK..(b + 1) * BLOCK {
                if is_extra && columns.add(i - k).read() as usize >= first {
                    let column = columns.add(i - k).read() as usize;
                    weights.add(i).write(weights.add(column).read());
                }
            }
            let (block, squares) = take_nibbles(block);
            let sum = if is_extra { &added } else { &copied };
            sum.set(f32x4_add(sum.get(), squares));
            block
        });
        for i in 0..extra {
            let column = columns.add(i).read() as usize;
            if column < first {
                let part = rest.add(i).read() * inverse.add(column).read();
                left += part * part;
            } else {
                weights.add(column).write(rest.add(i).read());
            }
        }
        let mut parts = zero();
        for i in (first..k).step_by(4) {
            let part = f32x4_mul(load(weights.add(i)), load(inverse.add(i)));
            parts = f32x4_add(parts, f32x4_mul(part, part));
        }
        norms.add(index).write(root(left + sum_f32(parts)));
        let added = sum_f32(added.get());
        let copy = bound + sum_f32(copied.get()) + added;
        for (i, norm) in [squared, copy, added].map(root).into_iter().enumerate() {
            // Not `max`, which would leave NaN out.
            if norm > most.add(i).read() || norm.is_nan() {
                most.add(i).write(norm);
            }
        }
    }
}

/// A byte's nibble stands for so much.
const STEP: i32 = 16;

/// Whether the bytes of a row of I8 fill their range, as those of Q8_0 do, and scales can grow by
/// `STEP` within f16.
///
/// # Safety
/// `row` is a packed row of `k` weights.
unsafe fn is_wide(row: *const u8, k: usize) -> bool {
    let mut bits = zero();
    for j in 0..if k < GROUP { 0 } else { BYTES / 16 } {
        let bytes = v128_xor(load(row.add(16 * j)), i8x16_splat(-128));
        bits = v128_or(bits, i8x16_abs(bytes));
    }
    let scale = |i: usize| {
        let at = row.add(i / 4 * group_bytes(I8) + BYTES).cast::<u16>();
        at.add(i % 4).read_unaligned() & 0x7fff
    };
    // Of 4096.
    let fits = (0..k / GROUP * 4).all(|i| scale(i) < 0x6c00);
    v128_any_true(v128_and(bits, i8x16_splat(64))) && fits
}

/// Copies groups of bytes: nibbles are their upper halves, rounded. Gives the sums of squares of what
/// is left, as `screen_rows` weighs them, and of the scales.
///
/// # Safety
/// `row` is one of I8 that `is_wide`, `out` has room for a head and so many groups of Q4.
unsafe fn copy_groups(
    row: *const u8,
    groups: usize,
    squares: *const i16,
    unit: f32,
    out: *mut u8,
) -> (f32, f32) {
    let (mut left, mut sum) = (zero(), zero());
    for g in 0..groups {
        let from = row.add(g * group_bytes(I8));
        let to = out.add(head_bytes(Q4) + g * group_bytes(Q4));
        let squares = squares.add(g * GROUP);
        let mut sums = [zero(); 2];
        let flips = flips(from);
        let mut upper = |j: usize| {
            // Of those without a sign, 128 more than they are: 128 less, the other way round.
            let bytes = i8x16_sub(v128_xor(load(from.add(16 * j)), flips), flips);
            let rounded = u8x16_add_sat(bytes, i8x16_splat(STEP as i8 / 2));
            let nibbles = v128_and(u16x8_shr(rounded, 4), i8x16_splat(15));
            let rest = i8x16_sub(bytes, i16x8_shl(nibbles, 4));
            let words = [i16x8_extend_low_i8x16(rest), i16x8_extend_high_i8x16(rest)];
            for h in 0..2 {
                let weights = load(squares.add(16 * j + 8 * h));
                let dot = i32x4_dot_i16x8(i16x8_mul(words[h], words[h]), weights);
                sums[h] = i32x4_add(sums[h], dot);
            }
            nibbles
        };
        for j in 0..4 {
            let (low, high) = (upper(j), upper(4 + j));
            store(to.add(16 * j), v128_or(low, i16x8_shl(high, 4)));
        }
        let mut flips_of = [0i32; 4];
        store(flips_of.as_mut_ptr(), flips);
        let mut scales = [0f32; 4];
        for (lane, scale) in scales.iter_mut().enumerate() {
            *scale = f16_to_f32(from.add(BYTES).cast::<u16>().add(lane).read_unaligned());
            if flips_of[lane] != 0 {
                *scale = -*scale;
            }
            let half = f32_to_f16(*scale * STEP as f32);
            to.add(NIBBLES).cast::<u16>().add(lane).write_unaligned(half);
        }
        let scales = load(scales.as_ptr());
        let scales = f32x4_mul(scales, scales);
        let blocks = i32x4_add(
            i32x4_shuffle::<0, 2, 4, 6>(sums[0], sums[1]),
            i32x4_shuffle::<1, 3, 5, 7>(sums[0], sums[1]),
        );
        left = f32x4_add(left, f32x4_mul(f32x4_convert_i32x4(blocks), scales));
        sum = f32x4_add(sum, scales);
    }
    (sum_f32(left) * unit, sum_f32(sum))
}

/// All ones for the blocks of a group of I8 whose largest byte is above 0: with their signs changed,
/// the largest takes the nibble of -8, as there is none for 8.
///
/// # Safety
/// `group` is a whole one.
#[inline(always)]
unsafe fn flips(group: *const u8) -> v128 {
    let (mut highest, mut lowest) = (zero(), i8x16_splat(-1));
    for j in 0..BYTES / 16 {
        let bytes = load(group.add(16 * j));
        highest = u8x16_max(highest, bytes);
        lowest = u8x16_min(lowest, bytes);
    }
    // 128 is 0: the distances from it, of which 128 itself never changes its sign.
    let middle = i8x16_splat(-128);
    let [up, down] = [u8x16_sub_sat(highest, middle), u8x16_sub_sat(middle, lowest)];
    let by_block = |mut bytes: v128| {
        bytes = u8x16_max(bytes, u16x8_shr(bytes, 8));
        bytes = u8x16_max(bytes, u32x4_shr(bytes, 16));
        v128_and(bytes, i32x4_splat(255))
    };
    i32x4_gt(by_block(up), by_block(down))
}

/// What `copy_groups` leaves of a column.
///
/// # Safety
/// `row` has it in a whole group, of which `copy` is the copy.
#[inline(always)]
unsafe fn left_of(row: *const u8, copy: *const u8, column: usize) -> f32 {
    let (g, lane, i) = (column / GROUP, column % GROUP / BLOCK, column % BLOCK);
    let from = row.add(g * group_bytes(I8));
    let scale_at = |group: *const u8| group.cast::<u16>().add(lane).read_unaligned();
    let scale = scale_at(from.add(BYTES));
    let copied = scale_at(copy.add(head_bytes(Q4) + g * group_bytes(Q4) + NIBBLES));
    let byte = i32::from(from.add(byte_of(4, lane, i)).read());
    let is_flipped = (scale ^ copied) >> 15 > 0;
    let byte = if is_flipped { 256 - byte } else { byte };
    let rest = byte - STEP * ((byte + STEP / 2).min(255) / STEP);
    (if is_flipped { -rest } else { rest }) as f32 * f16_to_f32(scale)
}

/// The root of a sum of squares, or rather more.
fn root(squares: f32) -> f32 {
    // The squares of numbers below 1e-19 may have been lost.
    squares.sqrt() * ROUNDED + 1e-17
}

/// # Safety
/// `x` has `n` floats, a multiple of 4.
unsafe fn sum_of_squares(x: *const f32, n: usize) -> f32 {
    let mut squares = zero();
    for i in (0..n).step_by(4) {
        squares = f32x4_add(squares, f32x4_mul(load(x.add(i)), load(x.add(i))));
    }
    sum_f32(squares)
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
    for (i, squares) in [sum_f32(scaled), apart, sum_of_squares(rounded, k)].into_iter().enumerate()
    {
        norms.add(i).write(root(squares));
    }
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
    use crate::ggml::{Q5_0, Q6_K, Q8_0};
    use crate::layout::{packed_row_bytes, I6, I8, I8H, K6};
    use crate::pack::repack;

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
        for round in 0..56 {
            let (id, kind, block, bytes, half, k) = [
                (Q8_0, I8, 32, 34, 0, 736),
                (Q6_K, I8H, 256, 210, 208, 768),
                (Q6_K, K6, 256, 210, 208, 768),
                (Q8_0, I8, 32, 34, 0, 640),
                (Q5_0, I8, 32, 22, 0, 608),
                (Q5_0, I6, 32, 22, 0, 640),
                (Q8_0, I8, 32, 34, 0, 96),
            ][round % 7];
            let stride = k / block * bytes;
            let mut source: Vec<u8> = (0..ROWS * stride).map(|_| next() as u8).collect();
            for at in (0..source.len()).step_by(bytes) {
                let bits = (0x0400 + next() % 0x4000 + 0x8000 * (next() % 2)) as u16;
                source[at + half..at + half + 2].copy_from_slice(&bits.to_le_bytes());
            }
            let row_bytes = packed_row_bytes(kind, k);
            let mut packed = vec![0u8; ROWS * row_bytes];
            let columns: Vec<u32> = (0..EXTRA as u32).map(|i| (i * 37 + 5) % k as u32).collect();
            let powers: Vec<f32> =
                (0..k / BLOCK).map(|_| 2f32.powi((next() % 3) as i32 - 1)).collect();
            let factor: Vec<f32> = (0..k).map(|i| powers[i / BLOCK]).collect();
            let inverse: Vec<f32> = factor.iter().map(|d| 1.0 / d).collect();
            let unit = 4.0 / 32000.0;
            let squares: Vec<i16> = (0..k / GROUP * GROUP)
                .map(|at| {
                    let i = at / GROUP * GROUP + at % 16 / 4 * BLOCK + at % GROUP / 16 * 4 + at % 4;
                    let is_extra = columns.contains(&(i as u32));
                    if is_extra {
                        0
                    } else {
                        (inverse[i] * inverse[i] / unit).ceil() as i16
                    }
                })
                .collect();
            let mut weights = vec![0f32; k + EXTRA];
            let copy_bytes = packed_row_bytes(Q4, k + EXTRA);
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
                    k,
                    packed.as_mut_ptr(),
                    row_bytes,
                );
                screen_rows(
                    kind,
                    packed.as_ptr(),
                    row_bytes,
                    ROWS,
                    k,
                    columns.as_ptr(),
                    EXTRA,
                    inverse.as_ptr(),
                    squares.as_ptr(),
                    unit,
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
                let w = unpacked(kind, &packed, row_bytes, against, k);
                let copy = unpacked(Q4, &copies, copy_bytes, against, k + EXTRA);
                let mut left: Vec<f32> = (0..k).map(|i| w[i] - copy[i]).collect();
                for (j, &column) in columns.iter().enumerate() {
                    left[column as usize] -= copy[k + j];
                }
                // What makes the bound an equation, but for rounding; or signs alone.
                let mut x: Vec<f32> = (0..k)
                    .map(|i| match round % 4 {
                        0 | 1 => left[i] * inverse[i] * inverse[i],
                        2 => left[i].signum(),
                        _ => next() as f32 - 8e6,
                    })
                    .chain([0.0; EXTRA])
                    .collect();
                let mut rounded = vec![0f32; k];
                unsafe {
                    screen_input(
                        x.as_mut_ptr(),
                        k,
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
                        write_rounded(x[k + at..].as_ptr(), repeated[at..].as_mut_ptr());
                    }
                }
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                };
                for r in 0..ROWS {
                    let w = unpacked(kind, &packed, row_bytes, r, k);
                    let copy = unpacked(Q4, &copies, copy_bytes, r, k + EXTRA);
                    let apart =
                        dot(&w, &rounded) - dot(&copy[..k], &rounded) - dot(&copy[k..], &repeated);
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
