//! Dot products of F32 and F16 rows with f32 activations.
//!
//! Rows and activations are padded with zeros to a multiple of 8. Eight partial sums, so that rounding errors grow with k / 8; halves are widened exactly.

use crate::coefficients::ROWS;
use crate::f16::{f16_to_f32, load4_f16};
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

/// Element `i` of a row.
///
/// # Safety
/// The row has it.
#[inline(always)]
pub unsafe fn element<const HALF: bool>(row: *const u8, i: usize) -> f32 {
    if HALF {
        f16_to_f32(row.cast::<u16>().add(i).read())
    } else {
        row.cast::<f32>().add(i).read()
    }
}

impl<const HALF: bool> Rows for Floats<HALF> {
    const TILE_ROWS: usize = 2;

    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        rows: [*const u8; R],
        k: usize,
        tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let mut sums = [[[zero(); 2]; T]; R];
        for i in (0..k).step_by(8) {
            for h in [0, 1] {
                let mut w = [zero(); R];
                for r in 0..R {
                    w[r] = load4::<HALF>(rows[r], i + 4 * h);
                }
                for t in 0..T {
                    let x = load(tokens[t].cast::<f32>().add(i + 4 * h));
                    for r in 0..R {
                        sums[r][t][h] = madd(w[r], x, sums[r][t][h]);
                    }
                }
            }
        }
        sums.map(|row| row.map(|[a, b]| sum_f32(f32x4_add(a, b))))
    }

    fn column_bytes(column: usize) -> usize {
        column * if HALF { 2 } else { 4 }
    }

    #[inline(always)]
    unsafe fn add(
        rows: &[*const u8; ROWS],
        offset: usize,
        h: &[f32; ROWS],
        width: usize,
        out: *mut f32,
    ) {
        for first in (0..ROWS).step_by(4) {
            let rows = [0, 1, 2, 3].map(|r| rows[first + r].wrapping_add(offset));
            let h = [0, 1, 2, 3].map(|r| f32x4_splat(h[first + r]));
            for i in (0..width).step_by(4) {
                let mut sum = load(out.add(i));
                for r in 0..4 {
                    sum = madd(h[r], load4::<HALF>(rows[r], i), sum);
                }
                store(out.add(i), sum);
            }
        }
    }
}
