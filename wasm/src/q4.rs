//! Dot products of nibble rows (Q4: w = s (q - 8); Q4M: w = s q + m) with quantised activations.
//!
//! A group of 128 weights is 4 vectors of nibbles; lane L holds block L's. Eight i8 x nibble dot products are summed in i16 (8 x 2 x 15 x 127 = 30480
//! fits), then once in i32. The high nibbles are taken by a 16-bit shift and a mask, since x86 has no byte shift. The integer part is exact;
//! a result's error is that of the activations plus f32 rounding of one multiply-add per block.

use crate::layout::activation::{self, BYTES, OFFSETS, SCALES, SUMS};
use crate::layout::{groups, GROUP, NIBBLES};
use crate::matmul::Rows;
use crate::simd::*;

/// `MIN`: whether the kind has mins (Q4M).
pub struct Nibbles<const MIN: bool>;

impl<const MIN: bool> Nibbles<MIN> {
    const GROUP_BYTES: usize = if MIN { NIBBLES + 32 } else { NIBBLES + 16 };
}

impl<const MIN: bool> Rows for Nibbles<MIN> {
    const TILE_ROWS: usize = 4;
    const LANE_COLUMNS: usize = GROUP;

    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        mut rows: [*const u8; R],
        k: usize,
        mut tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let mask = i8x16_splat(15);
        let ones = i16x8_splat(1);
        let mut sums = [[zero(); T]; R];
        for _ in 0..groups(k) {
            let mut dots = [[zero(); T]; R];
            for j in 0..4 {
                let mut low = [zero(); R];
                let mut high = [zero(); R];
                for r in 0..R {
                    let both = load(rows[r].add(16 * j));
                    low[r] = v128_and(both, mask);
                    high[r] = v128_and(u16x8_shr(both, 4), mask);
                }
                for t in 0..T {
                    let first = load(tokens[t].add(BYTES + 16 * j));
                    let second = load(tokens[t].add(BYTES + 64 + 16 * j));
                    for r in 0..R {
                        let dot = i16x8_add(dots[r][t], dot_i7(first, low[r]));
                        dots[r][t] = i16x8_add(dot, dot_i7(second, high[r]));
                    }
                }
            }
            let mut scales = [zero(); R];
            for r in 0..R {
                scales[r] = load(rows[r].add(NIBBLES));
            }
            for t in 0..T {
                let x_scale = load(tokens[t].add(SCALES));
                let x_sum = load(tokens[t].add(if MIN { SUMS } else { OFFSETS }));
                for r in 0..R {
                    let mut dot = i32x4_dot_i16x8(dots[r][t], ones);
                    if !MIN {
                        dot = i32x4_add(dot, x_sum);
                    }
                    let scale = f32x4_mul(scales[r], x_scale);
                    sums[r][t] = madd(f32x4_convert_i32x4(dot), scale, sums[r][t]);
                    if MIN {
                        let min = load(rows[r].add(NIBBLES + 16));
                        sums[r][t] = madd(min, x_sum, sums[r][t]);
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
        for _ in 0..k / GROUP {
            // h (s q + m) = c q + offset, with m = -8 s for Q4.
            let mut c = [zero(); R];
            let mut offset = zero();
            for r in 0..R {
                let h = f32x4_splat(h[r]);
                c[r] = f32x4_mul(h, load(rows[r].add(NIBBLES)));
                offset = if MIN {
                    madd(h, load(rows[r].add(NIBBLES + 16)), offset)
                } else {
                    madd(c[r], f32x4_splat(-8.0), offset)
                };
            }
            for j in 0..4 {
                let mut words = [zero(); R];
                for r in 0..R {
                    words[r] = load(rows[r].add(16 * j));
                }
                for n in 0..8 {
                    let at = out.add(4 * (n % 2 * 16 + 4 * j + n / 2));
                    let mut sum = f32x4_add(load(at), offset);
                    for r in 0..R {
                        let shifted = u32x4_shr(words[r], 4 * n as u32);
                        let q = v128_and(shifted, i32x4_splat(15));
                        sum = madd(f32x4_convert_i32x4(q), c[r], sum);
                    }
                    store(at, sum);
                }
            }
            rows = rows.map(|w| w.wrapping_add(Self::GROUP_BYTES));
            out = out.wrapping_add(GROUP);
        }
    }
}
