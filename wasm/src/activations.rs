//! Quantising activations to i8 per block of 32, in the layout of `layout::activation`.
//!
//! scale = amax / 127, q = x / scale rounded to nearest: |x - scale * q| <= amax / 254 (1 + 2^-20)
//! for each activation. Symmetric, so that q is never -128, which the i16 sums of the nibble
//! kernels rely on. A NaN or infinity makes the block's scale NaN or infinite, so that it reaches
//! the result.

use crate::coefficients::{side_by_side, ROUND};
use crate::f16::ENLARGE;
use crate::layout::activation::{
    BYTES, GROUP_BYTES, HALF_SUMS, LARGE_SCALES, LARGE_SUMS, OFFSETS, SCALES, SUMS,
};
use crate::layout::{activation_row_bytes, BLOCK, GROUP, HALF};
use crate::simd::*;

/// Quantises `n_tokens` rows of `k` floats, padded with zeros to a multiple of 128.
///
/// # Safety
/// `x` has `n_tokens` rows of `k` floats `x_stride` floats apart; `out` has as many rows of
/// `activation_row_bytes(k)`, `out_row_bytes` apart.
#[no_mangle]
pub unsafe extern "C" fn quantise_activations(
    x: *const f32,
    x_stride: usize,
    n_tokens: usize,
    k: usize,
    out: *mut u8,
    out_row_bytes: usize,
) {
    debug_assert!(out_row_bytes >= activation_row_bytes(k) || n_tokens <= 1);
    for t in 0..n_tokens {
        let row = x.wrapping_add(t * x_stride);
        let to = out.wrapping_add(t * out_row_bytes);
        for g in 0..k.div_ceil(GROUP) {
            let left = k - g * GROUP;
            let mut from = row.wrapping_add(g * GROUP);
            let mut padded = [0f32; GROUP];
            if left < GROUP {
                padded.as_mut_ptr().copy_from_nonoverlapping(from, left);
                from = padded.as_ptr();
            }
            let to = to.add(g * GROUP_BYTES);
            if left <= HALF {
                write_group::<true>(from, to);
            } else {
                write_group::<false>(from, to);
            }
        }
    }
}

/// A group, or half of one.
///
/// # Safety
/// `x` has 128 floats, `out` a group.
#[inline(never)]
unsafe fn write_group<const IS_HALF: bool>(x: *const f32, out: *mut u8) {
    let mut scales = [0f32; 4];
    let mut bytes = [[zero(); 2]; 4]; // of block L: its halves
    for lane in 0..4 {
        let (scale, words) = quantise_block(x.add(lane * BLOCK));
        scales[lane] = scale;
        bytes[lane] =
            [i8x16_narrow_i16x8(words[0], words[1]), i8x16_narrow_i16x8(words[2], words[3])];
    }
    let ones = i16x8_splat(1);
    let mut pairs = zero(); // sums of the lower and the upper pairs of the quads
    let mut halves = [zero(); 2]; // sums by half
    for h in 0..2 {
        let rows = core::array::from_fn(|lane| bytes[lane][h]);
        let mut sums = zero();
        for (i, quads) in in_order::<IS_HALF>(transpose(rows)).into_iter().enumerate() {
            store(out.add(BYTES + (4 * h + i) * 16), quads);
            sums = i16x8_add(sums, i16x8_extadd_pairwise_i8x16(quads));
        }
        pairs = i16x8_add(pairs, sums);
        halves[h] = i32x4_dot_i16x8(sums, ones);
    }
    let scale = by_lane::<IS_HALF>(load(scales.as_ptr()));
    let sum = f32x4_mul(scale, f32x4_convert_i32x4(i32x4_dot_i16x8(pairs, ones)));
    store(out.add(SCALES), scale);
    store(out.add(SUMS), sum);
    let enlarge = f32x4_splat(ENLARGE);
    store(out.add(LARGE_SCALES), f32x4_mul(scale, enlarge));
    store(out.add(LARGE_SUMS), f32x4_mul(sum, enlarge));
    store(out.add(OFFSETS), i16x8_sub(zero(), i16x8_shl(pairs, 3)));
    store(out.add(HALF_SUMS), side_by_side(halves[0], halves[1]));
}

/// The vectors of a group; of half of one, two and zeros.
#[inline(always)]
fn in_order<const IS_HALF: bool>(vectors: [v128; 4]) -> [v128; 4] {
    let [a, b, c, d] = vectors;
    if IS_HALF {
        [lower_words(a, b), lower_words(c, d), zero(), zero()]
    } else {
        vectors
    }
}

/// What belongs to each block, by lane.
#[inline(always)]
fn by_lane<const IS_HALF: bool>(blocks: v128) -> v128 {
    if IS_HALF {
        lower_words(blocks, blocks)
    } else {
        blocks
    }
}

/// The scale of 32 floats and their integers as i16.
///
/// # Safety
/// `x` has 32 floats.
#[inline(always)]
pub unsafe fn quantise_block(x: *const f32) -> (f32, [v128; 4]) {
    let mut values = [zero(); 8];
    // As integers, which order floats without a sign as the floats do, and NaN above all.
    let mut largest = zero();
    for (i, value) in values.iter_mut().enumerate() {
        *value = load(x.add(4 * i));
        largest = i32x4_max(largest, f32x4_abs(*value));
    }
    let amax = largest_magnitude(largest);
    // Below this 127 / amax overflows; rounding such a block to zero is an error below 1e-36.
    if amax < 1e-36 {
        return (0.0, [zero(); 4]);
    }
    let inverse = f32x4_splat(127.0 / amax);
    let integer = |v: v128| {
        let rounded = f32x4_add(f32x4_mul(v, inverse), f32x4_splat(ROUND));
        i32x4_sub(rounded, i32x4_splat(ROUND.to_bits() as i32))
    };
    let words = core::array::from_fn(|v| {
        i16x8_narrow_i32x4(integer(values[2 * v]), integer(values[2 * v + 1]))
    });
    (amax / 127.0, words)
}
