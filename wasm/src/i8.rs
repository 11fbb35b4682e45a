//! Dot products of byte rows (I8, I8M: a scale per 32 weights; I8H, I8HM: one per 16) with quantised activations.
//!
//! Weights are sign-extended as they are loaded and multiplied as i16 pairs (`i32x4_dot_i16x8`): exact for every byte, -128 too, and the same on
//! every CPU, where relaxed SIMD leaves an 8-bit second operand to the machine. Activations come as i16 for it. Lane L belongs to block L.

use crate::layout::activation::{self, HALF_SUMS, SCALES, SUMS, WORDS};
use crate::layout::{groups, BYTES as WEIGHTS, GROUP};
use crate::matmul::Rows;
use crate::simd::*;

/// `HALVES`: scales per block of 32 (1 or 2). `MIN`: whether the kind has mins.
pub struct Bytes<const HALVES: usize, const MIN: bool>;

impl<const HALVES: usize, const MIN: bool> Bytes<HALVES, MIN> {
    const GROUP_BYTES: usize = WEIGHTS + if MIN { 32 * HALVES } else { 16 * HALVES };
}

impl<const HALVES: usize, const MIN: bool> Rows for Bytes<HALVES, MIN> {
    const TILE_ROWS: usize = 2;
    const LANE_COLUMNS: usize = GROUP;

    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        mut rows: [*const u8; R],
        k: usize,
        mut tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let mut sums = [[zero(); T]; R];
        for _ in 0..groups(k) {
            for h in 0..HALVES {
                let units = 16 / HALVES;
                let mut dots = [[zero(); T]; R];
                for j in h * units..(h + 1) * units {
                    let mut pairs = [zero(); R];
                    for r in 0..R {
                        pairs[r] = i16x8_load_extend_i8x8(rows[r].add(8 * j).cast());
                    }
                    for t in 0..T {
                        let words = load(tokens[t].add(WORDS + 16 * j));
                        for r in 0..R {
                            let dot = i32x4_dot_i16x8(pairs[r], words);
                            dots[r][t] = i32x4_add(dots[r][t], dot);
                        }
                    }
                }
                let mut scales = [zero(); R];
                for r in 0..R {
                    scales[r] = load(rows[r].add(WEIGHTS + 16 * h));
                }
                for t in 0..T {
                    let x_scale = load(tokens[t].add(SCALES));
                    for r in 0..R {
                        let scale = f32x4_mul(scales[r], x_scale);
                        sums[r][t] = madd(f32x4_convert_i32x4(dots[r][t]), scale, sums[r][t]);
                        if MIN {
                            let min = load(rows[r].add(WEIGHTS + 16 * (HALVES + h)));
                            let at = if HALVES == 1 { SUMS } else { HALF_SUMS + 16 * h };
                            sums[r][t] = madd(min, load(tokens[t].add(at)), sums[r][t]);
                        }
                    }
                }
            }
            rows = rows.map(|w| w.wrapping_add(Self::GROUP_BYTES));
            tokens = tokens.map(|a| a.wrapping_add(activation::GROUP_BYTES));
        }
        sums.map(|row| row.map(sum_f32))
    }

    fn column_bytes(column: usize) -> usize {
        column / GROUP * Self::GROUP_BYTES
    }

    #[inline(always)]
    unsafe fn add<const R: usize>(
        mut rows: [*const u8; R],
        k: usize,
        h: [f32; R],
        mut out: *mut f32,
    ) {
        // Weights come as i16 pairs in a word and are converted in its upper half, that is times 2^16.
        let upper = i32x4_splat(-65536);
        for _ in 0..k / GROUP {
            for half in 0..HALVES {
                let mut c = [zero(); R];
                let mut offset = zero();
                for r in 0..R {
                    let scale = load(rows[r].add(WEIGHTS + 16 * half));
                    c[r] = f32x4_mul(f32x4_splat(h[r] / 65536.0), scale);
                    if MIN {
                        let min = load(rows[r].add(WEIGHTS + 16 * (HALVES + half)));
                        offset = madd(f32x4_splat(h[r]), min, offset);
                    }
                }
                let units = 16 / HALVES;
                for j in half * units..(half + 1) * units {
                    let mut sums = [load(out.add(8 * j)), load(out.add(8 * j + 4))];
                    if MIN {
                        sums = sums.map(|sum| f32x4_add(sum, offset));
                    }
                    for r in 0..R {
                        let pairs = i16x8_load_extend_i8x8(rows[r].add(8 * j).cast());
                        let first = f32x4_convert_i32x4(i32x4_shl(pairs, 16));
                        let second = f32x4_convert_i32x4(v128_and(pairs, upper));
                        sums = [madd(first, c[r], sums[0]), madd(second, c[r], sums[1])];
                    }
                    store(out.add(8 * j), sums[0]);
                    store(out.add(8 * j + 4), sums[1]);
                }
            }
            rows = rows.map(|w| w.wrapping_add(Self::GROUP_BYTES));
            out = out.wrapping_add(GROUP);
        }
    }
}
