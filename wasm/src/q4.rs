//! Dot products of nibble rows (Q4: w = s (q - 8); Q4M: w = s q + m) with quantised activations.
//!
//! A group of 128 weights is 4 vectors of nibbles; lane L holds block L's. Eight i8 x nibble dot products are summed in i16 (8 x 2 x 15 x 127 = 30480
//! fits), then once in i32. The high nibbles are taken by a 16-bit shift and a mask, since x86 has no byte shift. The integer part is exact;
//! a result's error is that of the activations plus f32 rounding of one multiply-add per block.

use crate::layout::{activation::*, groups, NIBBLES};
use crate::matmul::Rows;
use crate::simd::*;

/// `MIN`: whether the kind has mins (Q4M).
pub struct Nibbles<const MIN: bool>;

impl<const MIN: bool> Rows for Nibbles<MIN> {
    #[inline(always)]
    unsafe fn dot<const T: usize>(
        row: *const u8,
        k: usize,
        x: *const u8,
        x_stride: usize,
    ) -> [f32; T] {
        let mask = i8x16_splat(15);
        let ones = i16x8_splat(1);
        let mut sums = [zero(); T];
        let (mut w, mut a) = (row, x);
        for _ in 0..groups(k) {
            let mut dots = [zero(); T];
            for j in 0..4 {
                let both = load(w.add(16 * j));
                let low = v128_and(both, mask);
                let high = v128_and(u16x8_shr(both, 4), mask);
                for (t, dot) in dots.iter_mut().enumerate() {
                    let bytes = a.wrapping_add(t * x_stride + BYTES + 16 * j);
                    *dot = i16x8_add(*dot, dot_i7(load(bytes), low));
                    *dot = i16x8_add(*dot, dot_i7(load(bytes.wrapping_add(64)), high));
                }
            }
            let scale = load(w.add(NIBBLES));
            for (t, sum) in sums.iter_mut().enumerate() {
                let group = a.wrapping_add(t * x_stride);
                let mut dot = i32x4_dot_i16x8(dots[t], ones);
                if !MIN {
                    dot = i32x4_add(dot, load(group.wrapping_add(OFFSETS)));
                }
                let both = f32x4_mul(scale, load(group.wrapping_add(SCALES)));
                *sum = madd(f32x4_convert_i32x4(dot), both, *sum);
                if MIN {
                    let min = load(w.add(NIBBLES + 16));
                    *sum = madd(min, load(group.wrapping_add(SUMS)), *sum);
                }
            }
            w = w.add(if MIN { NIBBLES + 32 } else { NIBBLES + 16 });
            a = a.wrapping_add(GROUP_BYTES);
        }
        sums.map(sum_f32)
    }
}
