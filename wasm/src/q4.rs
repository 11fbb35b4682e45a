//! Dot products of nibble rows (Q4: w = s (q - 8); Q4M: w = s q + m) with quantised activations.
//!
//! A group of 128 weights is 4 vectors of nibbles; lane L holds block L's. Eight i8 x nibble dot products are summed in i16 (8 x 2 x 15 x 127 = 30480
//! fits), then once in i32. The high nibbles are taken by a 16-bit shift and a mask, since x86 has no byte shift. The integer part is exact;
//! a result's error is that of the activations plus f32 rounding of one multiply-add per block.

use crate::coefficients::{add4, broadcast, quantise, ROWS};
use crate::f16::load4_f16;
use crate::layout::activation::{self, BYTES, OFFSETS, SCALES, SUMS};
use crate::layout::{groups, BLOCK, GROUP, NIBBLES};
use crate::matmul::Rows;
use crate::simd::*;

/// `MIN`: whether the kind has mins (Q4M).
pub struct Nibbles<const MIN: bool>;

impl<const MIN: bool> Nibbles<MIN> {
    const GROUP_BYTES: usize = if MIN { NIBBLES + 32 } else { NIBBLES + 8 };

    /// The scales of a group's four blocks.
    #[inline(always)]
    unsafe fn scales(group: *const u8) -> v128 {
        if MIN {
            load(group.add(NIBBLES))
        } else {
            load4_f16(group.add(NIBBLES).cast())
        }
    }
}

impl<const MIN: bool> Rows for Nibbles<MIN> {
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        mut rows: [*const u8; R],
        k: usize,
        mut tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let ones = i16x8_splat(1);
        let mut sums = [[zero(); T]; R];
        for _ in 0..groups(k) {
            let mut dots = [[zero(); T]; R];
            for j in 0..4 {
                let mut low = [zero(); R];
                let mut high = [zero(); R];
                for r in 0..R {
                    [low[r], high[r]] = nibbles(load(rows[r].add(16 * j)));
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
                scales[r] = Self::scales(rows[r]);
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

    /// Pairs of rows side by side are multiplied as bytes: i16 holds the sums of a dozen rows of 15 * 127.
    #[inline(always)]
    unsafe fn add(
        rows: &[*const u8; ROWS],
        offset: usize,
        h: &[f32; ROWS],
        _width: usize,
        out: *mut f32,
    ) {
        let mut min = zero();
        let c = core::array::from_fn(|r| {
            let group = rows[r].add(offset);
            if MIN {
                min = madd(f32x4_splat(h[r]), load(group.add(NIBBLES + 16)), min);
            }
            f32x4_mul(f32x4_splat(h[r]), Self::scales(group))
        });
        let coefficients = quantise::<127>(&c);
        let pairs = coefficients.bytes();
        if !MIN {
            min = f32x4_mul(coefficients.sum, f32x4_splat(-8.0));
        }
        let scales = broadcast(coefficients.scale);
        let mins = broadcast(min);
        for j in 0..4 {
            // Of blocks 0 and 1, then of 2 and 3; of the low nibbles, then of the high ones.
            let mut sums = [[zero(); 2]; 2];
            for p in 0..ROWS / 2 {
                let first = load(rows[2 * p].add(offset + 16 * j));
                let second = load(rows[2 * p + 1].add(offset + 16 * j));
                let bytes = [
                    nibbles(i8x16_interleave_low(first, second)),
                    nibbles(i8x16_interleave_high(first, second)),
                ];
                for pair in 0..2 {
                    for half in 0..2 {
                        let dot = dot_i7(pairs[p][pair], bytes[pair][half]);
                        sums[pair][half] = i16x8_add(sums[pair][half], dot);
                    }
                }
            }
            for half in 0..2 {
                for pair in 0..2 {
                    let out = out.add(2 * BLOCK * pair + 16 * half + 4 * j);
                    let [even, odd] = [2 * pair, 2 * pair + 1];
                    let sum = f32x4_convert_i32x4(i32x4_extend_low_i16x8(sums[pair][half]));
                    add4(out, scales[even], sum, mins[even]);
                    let sum = f32x4_convert_i32x4(i32x4_extend_high_i16x8(sums[pair][half]));
                    add4(out.add(BLOCK), scales[odd], sum, mins[odd]);
                }
            }
        }
    }
}
