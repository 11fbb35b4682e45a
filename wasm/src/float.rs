//! Dot products of F32 and F16 rows with f32 activations.
//!
//! Rows and activations are padded with zeros to a multiple of 8. Four partial sums, so that
//! rounding errors grow with k / 4; with more, tiles would not fit the registers.
//!
//! Halves are multiplied as `widen_raw` gives them, 2^-112 times as large, and without their row's
//! scale; both are made good in the sum, exactly. Nothing overflows on the way, and products below
//! 2^-29 of the row's largest weight lose at most 2^-53 of it.

use crate::f16::{widen_raw, HALF_BITS, REBIAS, RESTORE};
use crate::layout::F16_HEAD;
use crate::matmul::Rows;
use crate::simd::*;

/// `HALF`: f16 weights, else f32.
#[derive(Clone, Copy)]
pub struct Floats<const HALF: bool>;

impl<const HALF: bool> Floats<HALF> {
    /// Numbers `i..i + 8` of a row, times its scale the weights; `mask` is `HALF_BITS`.
    ///
    /// # Safety
    /// The row has 8 numbers from `i` on.
    #[inline(always)]
    unsafe fn load8(row: *const u8, i: usize, mask: v128) -> [v128; 2] {
        if HALF {
            widen_raw(load(row.add(F16_HEAD + 2 * i)), mask)
        } else {
            [load(row.add(4 * i)), load(row.add(4 * i + 16))]
        }
    }

    /// A power of two.
    ///
    /// # Safety
    /// `row` is a packed row.
    #[inline(always)]
    unsafe fn scale(row: *const u8) -> f32 {
        if HALF {
            REBIAS * row.cast::<f32>().read()
        } else {
            1.0
        }
    }
}

impl<const HALF: bool> Rows for Floats<HALF> {
    /// To widen a half takes as long as its products with two tokens.
    const FOUR_TOKENS: bool = HALF;

    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        self,
        rows: [*const u8; R],
        k: usize,
        tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let mask = opaque(i32x4_splat(HALF_BITS));
        let mut sums = [[zero(); T]; R];
        for i in (0..k).step_by(8) {
            let row = |r: usize| Self::load8(rows[r], i, mask);
            let token = |t: usize, half| load(tokens[t].cast::<f32>().add(i + 4 * half));
            if R < T {
                let w: [_; R] = core::array::from_fn(row);
                for t in 0..T {
                    for half in [0, 1] {
                        let x = token(t, half);
                        for r in 0..R {
                            sums[r][t] = madd(w[r][half], x, sums[r][t]);
                        }
                    }
                }
            } else {
                let x: [_; T] = core::array::from_fn(|t| [0, 1].map(|half| token(t, half)));
                for r in 0..R {
                    let w = row(r);
                    for half in [0, 1] {
                        for t in 0..T {
                            sums[r][t] = madd(w[half], x[t][half], sums[r][t]);
                        }
                    }
                }
            }
        }
        core::array::from_fn(|r| {
            let scale = Self::scale(rows[r]);
            sums[r].map(|sum| scale * sum_f32(sum))
        })
    }

    fn column_bytes(column: usize) -> usize {
        column * if HALF { 2 } else { 4 }
    }

    #[inline(always)]
    unsafe fn add<const N: usize>(
        self,
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        width: usize,
        out: *mut f32,
    ) {
        let mask = opaque(i32x4_splat(HALF_BITS));
        // Coefficients times the whole scale of a row might overflow.
        let restore = if HALF { RESTORE } else { 1.0 };
        for first in (0..N).step_by(4) {
            let rows = [0, 1, 2, 3].map(|r| rows[first + r]);
            let h =
                [0, 1, 2, 3].map(|r| f32x4_splat(h[first + r] * (Self::scale(rows[r]) / restore)));
            let rows = rows.map(|row| row.wrapping_add(offset));
            for i in (0..width).step_by(8) {
                let mut sums = [zero(); 2];
                for r in 0..4 {
                    let w = Self::load8(rows[r], i, mask);
                    for half in [0, 1] {
                        sums[half] = madd(h[r], w[half], sums[half]);
                    }
                }
                for half in [0, 1] {
                    let out = out.add(i + 4 * half);
                    store(out, madd(sums[half], f32x4_splat(restore), load(out)));
                }
            }
        }
    }
}
