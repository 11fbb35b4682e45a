//! Quantising activations to i8 per block of 32, in the layout of `layout::activation`.
//!
//! scale = amax / 127, q = x / scale rounded to nearest: |x - scale * q| <= amax / 254 (1 + 2^-20) for each activation. Symmetric, so that q is never -128, which
//! the i16 sums of the nibble kernels rely on. A NaN or infinity makes the block's scale NaN or infinite, so that it reaches the result.

use crate::layout::{activation::*, activation_row_bytes, groups, BLOCK, GROUP};
use crate::simd::*;

/// Quantises `n_tokens` rows of `k` floats, padded with zeros to a multiple of 128.
///
/// # Safety
/// `x` has `n_tokens` rows of `k` floats `x_stride` floats apart; `out` has as many rows of `activation_row_bytes(k)`, `out_row_bytes` apart.
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
        for g in 0..groups(k) {
            let left = k - g * GROUP;
            if left >= GROUP {
                quantise_group(row.add(g * GROUP), to.add(g * GROUP_BYTES));
            } else {
                let mut padded = [0f32; GROUP];
                padded.as_mut_ptr().copy_from_nonoverlapping(row.add(g * GROUP), left);
                quantise_group(padded.as_ptr(), to.add(g * GROUP_BYTES));
            }
        }
    }
}

#[inline(always)]
unsafe fn quantise_group(x: *const f32, out: *mut u8) {
    let mut scales = [0f32; 4];
    let mut words = [[zero(); 4]; 4]; // of block L: the i16 activations 8v..8v+8 of vector v
    for lane in 0..4 {
        (scales[lane], words[lane]) = quantise_block(x.add(lane * BLOCK));
    }
    let scale = load(scales.as_ptr());
    store(out.add(SCALES), scale);

    let ones = i16x8_splat(1);
    let mut sums = [[zero(); 2]; 2]; // of the even and the odd pairs of each half
    for v in 0..4 {
        let rows = [words[0][v], words[1][v], words[2][v], words[3][v]];
        for (i, pairs) in transpose(rows).into_iter().enumerate() {
            store(out.add(WORDS + (4 * v + i) * 16), pairs);
            let sum = &mut sums[v / 2][i % 2];
            *sum = i32x4_add(*sum, i32x4_dot_i16x8(pairs, ones));
        }
    }
    for h in 0..2 {
        let bytes = core::array::from_fn(|lane| {
            i8x16_narrow_i16x8(words[lane][2 * h], words[lane][2 * h + 1])
        });
        for (i, quads) in transpose(bytes).into_iter().enumerate() {
            store(out.add(BYTES + (4 * h + i) * 16), quads);
        }
        let sum = f32x4_convert_i32x4(i32x4_add(sums[h][0], sums[h][1]));
        store(out.add(HALF_SUMS + 16 * h), f32x4_mul(scale, sum));
    }
    let [even, odd] = [0, 1].map(|i| i32x4_add(sums[0][i], sums[1][i]));
    let sum = f32x4_convert_i32x4(i32x4_add(even, odd));
    store(out.add(SUMS), f32x4_mul(scale, sum));
    let both = v128_bitselect(even, i32x4_shl(odd, 16), i32x4_splat(0xffff));
    store(out.add(OFFSETS), i16x8_sub(zero(), i16x8_shl(both, 3)));
}

/// The scale of 32 floats and their integers as i16.
#[inline(always)]
unsafe fn quantise_block(x: *const f32) -> (f32, [v128; 4]) {
    let mut values = [zero(); 8];
    let mut largest = zero();
    for (i, value) in values.iter_mut().enumerate() {
        *value = load(x.add(4 * i));
        largest = f32x4_max(largest, f32x4_abs(*value));
    }
    let amax = max_f32(largest);
    // Below this 127 / amax overflows; rounding such a block to zero is an error below 1e-36.
    if amax < 1e-36 {
        return (0.0, [zero(); 4]);
    }
    let inverse = f32x4_splat(127.0 / amax);
    let integer = |v: v128| i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(v, inverse)));
    let words = core::array::from_fn(|v| {
        i16x8_narrow_i32x4(integer(values[2 * v]), integer(values[2 * v + 1]))
    });
    (amax / 127.0, words)
}
