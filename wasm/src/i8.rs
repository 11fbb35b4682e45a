//! Dot products of byte rows (I8, I8M: a scale per 32 weights; I8H, I8HM: one per 16) with quantised activations.
//!
//! Weights are sign-extended as they are loaded and multiplied as i16 pairs (`i32x4_dot_i16x8`): exact for every byte, -128 too, and the same on
//! every CPU, where relaxed SIMD leaves an 8-bit second operand to the machine. Activations come as i16 for it. Lane L belongs to block L.

use crate::layout::{activation::*, groups, BYTES as WEIGHTS};
use crate::matmul::Rows;
use crate::simd::*;

/// `HALVES`: scales per block of 32 (1 or 2). `MIN`: whether the kind has mins.
pub struct Bytes<const HALVES: usize, const MIN: bool>;

impl<const HALVES: usize, const MIN: bool> Rows for Bytes<HALVES, MIN> {
    #[inline(always)]
    unsafe fn dot<const T: usize>(
        row: *const u8,
        k: usize,
        x: *const u8,
        x_stride: usize,
    ) -> [f32; T] {
        let mut sums = [zero(); T];
        let (mut w, mut a) = (row, x);
        for _ in 0..groups(k) {
            for h in 0..HALVES {
                let units = 16 / HALVES;
                let mut dots = [zero(); T];
                for j in h * units..(h + 1) * units {
                    let pairs = i16x8_load_extend_i8x8(w.add(8 * j).cast());
                    for (t, dot) in dots.iter_mut().enumerate() {
                        let words = load(a.wrapping_add(t * x_stride + WORDS + 16 * j));
                        *dot = i32x4_add(*dot, i32x4_dot_i16x8(pairs, words));
                    }
                }
                let scale = load(w.add(WEIGHTS + 16 * h));
                for (t, sum) in sums.iter_mut().enumerate() {
                    let group = a.wrapping_add(t * x_stride);
                    let both = f32x4_mul(scale, load(group.wrapping_add(SCALES)));
                    *sum = madd(f32x4_convert_i32x4(dots[t]), both, *sum);
                    if MIN {
                        let min = load(w.add(WEIGHTS + 16 * (HALVES + h)));
                        let at = if HALVES == 1 { SUMS } else { HALF_SUMS + 16 * h };
                        *sum = madd(min, load(group.wrapping_add(at)), *sum);
                    }
                }
            }
            w = w.add(WEIGHTS + if MIN { 32 * HALVES } else { 16 * HALVES });
            a = a.wrapping_add(GROUP_BYTES);
        }
        sums.map(sum_f32)
    }
}
