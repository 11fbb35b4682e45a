//! Dot products of F32 and F16 rows with f32 activations.
//!
//! Rows and activations are padded with zeros to a multiple of 8. Eight partial sums, so that rounding errors grow with k / 8; halves are widened exactly.

use crate::f16::load4_f16;
use crate::matmul::Rows;
use crate::simd::*;

/// `HALF`: f16 weights, else f32.
pub struct Floats<const HALF: bool>;

/// Weights `i..i + 4` of a row.
///
/// # Safety
/// The row has them.
#[inline(always)]
pub unsafe fn load4<const HALF: bool>(row: *const u8, i: usize) -> v128 {
    if HALF {
        load4_f16(row.cast::<u16>().add(i))
    } else {
        load(row.cast::<f32>().add(i))
    }
}

impl<const HALF: bool> Rows for Floats<HALF> {
    #[inline(always)]
    unsafe fn dot<const T: usize>(
        row: *const u8,
        k: usize,
        x: *const u8,
        x_stride: usize,
    ) -> [f32; T] {
        let mut sums = [[zero(); 2]; T];
        for i in (0..k).step_by(8) {
            let w = [load4::<HALF>(row, i), load4::<HALF>(row, i + 4)];
            for (t, sum) in sums.iter_mut().enumerate() {
                let a = x.wrapping_add(t * x_stride + 4 * i);
                sum[0] = madd(w[0], load(a), sum[0]);
                sum[1] = madd(w[1], load(a.wrapping_add(16)), sum[1]);
            }
        }
        sums.map(|[a, b]| sum_f32(f32x4_add(a, b)))
    }
}
