//! Dot products of nibble rows (Q4: w = s (q - 8); Q4M: w = s q + m) with quantised activations.
//!
//! A group of 128 weights is 4 vectors of nibbles; lane L holds block L's. Sixteen products of i8 and (q - 8), at most 16 x 127 x 8 = 16256, or of i8 and
//! q, 16 x 127 x 15 = 30480, are summed in a lane of i16, then once in i32. Q4's sums begin at -8 times the sum of the i8; they may wrap on their way, not at
//! its end. The high nibbles are taken by a 16-bit shift and a mask, since x86 has no byte shift. The integer part is exact; a result's error is
//! that of the activations plus f32 rounding of one multiply-add per block.
//!
//! The loops are written for V8, which checks the bounds of each load and makes a vector constant anew at each use: constants are opaque so that they
//! stay in registers, and an inner loop of an opaque length is not unrolled, which would spill more than it saves.

use crate::coefficients::{add4, broadcast, quantise, ROWS};
use crate::f16::{load4_raw_f16, ENLARGE, REBIAS, RESTORE};
use crate::layout::activation::{self, BYTES, OFFSETS, SCALES, SUMS};
use crate::layout::{groups, BLOCK, GROUP, NIBBLES};
use crate::matmul::Rows;
use crate::simd::*;

/// `MIN`: whether the kind has mins (Q4M). `SUM_I32`: whether products are summed in i32 at once; the results are the same.
pub struct Nibbles<const MIN: bool, const SUM_I32: bool>;

impl<const MIN: bool, const SUM_I32: bool> Nibbles<MIN, SUM_I32> {
    const GROUP_BYTES: usize = if MIN { NIBBLES + 32 } else { NIBBLES + 8 };

    /// The scales of a group's four blocks; those of Q4 2^-112 times as large.
    #[inline(always)]
    unsafe fn raw_scales(group: *const u8) -> v128 {
        if MIN {
            load(group.add(NIBBLES))
        } else {
            load4_raw_f16(group.add(NIBBLES).cast())
        }
    }

    /// The scales of a group's four blocks.
    #[inline(always)]
    unsafe fn scales(group: *const u8) -> v128 {
        let raw = Self::raw_scales(group);
        if MIN {
            raw
        } else {
            f32x4_mul(raw, f32x4_splat(REBIAS))
        }
    }
}

impl<const MIN: bool, const SUM_I32: bool> Rows for Nibbles<MIN, SUM_I32> {
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        mut rows: [*const u8; R],
        k: usize,
        mut tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let mask = opaque(i8x16_splat(15));
        let end = opaque(NIBBLES);
        let ones = opaque(i16x8_splat(1));
        let mut sums = [[zero(); T]; R];
        for _ in 0..groups(k) {
            let mut dots = [[zero(); T]; R];
            if !MIN {
                for t in 0..T {
                    let mut offsets = load(tokens[t].add(OFFSETS));
                    if SUM_I32 {
                        offsets = i32x4_dot_i16x8(offsets, ones);
                    }
                    for r in 0..R {
                        dots[r][t] = offsets;
                    }
                }
            }
            let mut j = 0;
            while j < end {
                let mut both = [[zero(); 2]; R];
                for r in 0..R {
                    both[r] = masked_nibbles(load(rows[r].add(j)), mask);
                }
                for t in 0..T {
                    let x = tokens[t].add(BYTES + j);
                    let x = [load(x), load(x.add(64))];
                    for r in 0..R {
                        dots[r][t] = if SUM_I32 {
                            let dot = dot_i7_i32(x[0], both[r][0], dots[r][t]);
                            dot_i7_i32(x[1], both[r][1], dot)
                        } else {
                            let dot = i16x8_add(dots[r][t], dot_i7(x[0], both[r][0]));
                            i16x8_add(dot, dot_i7(x[1], both[r][1]))
                        };
                    }
                }
                j += 16;
            }
            let mut scales = [zero(); R];
            for r in 0..R {
                scales[r] = Self::raw_scales(rows[r]);
            }
            for t in 0..T {
                let mut x_scale = load(tokens[t].add(SCALES));
                if !MIN {
                    x_scale = f32x4_mul(x_scale, f32x4_splat(ENLARGE));
                }
                for r in 0..R {
                    let dot = if SUM_I32 { dots[r][t] } else { i32x4_dot_i16x8(dots[r][t], ones) };
                    let dot = f32x4_convert_i32x4(dot);
                    sums[r][t] = madd(dot, f32x4_mul(scales[r], x_scale), sums[r][t]);
                    if MIN {
                        let min = load(rows[r].add(NIBBLES + 16));
                        let x_sum = load(tokens[t].add(SUMS));
                        sums[r][t] = madd(min, x_sum, sums[r][t]);
                    }
                }
            }
            rows = rows.map(|w| w.wrapping_add(Self::GROUP_BYTES));
            tokens = tokens.map(|a| a.wrapping_add(activation::GROUP_BYTES));
        }
        let restore = if MIN { 1.0 } else { RESTORE };
        sums.map(|row| row.map(|sum| sum_f32(sum) * restore))
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
        // Of blocks 0 and 1, then of 2 and 3.
        let offsets = if MIN { [zero(); 2] } else { coefficients.offsets() };
        let scales = broadcast(coefficients.scale);
        let mins = broadcast(min);
        let mask = opaque(i8x16_splat(15));
        for j in [0, 2] {
            // Of two vectors of a row: of blocks 0 and 1, then of 2 and 3; of the low nibbles, then of the high ones.
            let mut sums = [offsets.map(|offset| [offset; 2]); 2];
            for p in 0..ROWS / 2 {
                for i in 0..2 {
                    let at = offset + 16 * (j + i);
                    let first = load(rows[2 * p].add(at));
                    let second = load(rows[2 * p + 1].add(at));
                    let sides =
                        [i8x16_interleave_low(first, second), i8x16_interleave_high(first, second)];
                    for pair in 0..2 {
                        let [low, high] = masked_nibbles(sides[pair], mask);
                        let sums = &mut sums[i][pair];
                        sums[0] = i16x8_add(sums[0], dot_i7(pairs[p][pair], low));
                        sums[1] = i16x8_add(sums[1], dot_i7(pairs[p][pair], high));
                    }
                }
            }
            for i in 0..2 {
                for pair in 0..2 {
                    for half in 0..2 {
                        let sum = sums[i][pair][half];
                        let out = out.add(2 * BLOCK * pair + 16 * half + 4 * (j + i));
                        let [even, odd] = [2 * pair, 2 * pair + 1];
                        let low = f32x4_convert_i32x4(i32x4_extend_low_i16x8(sum));
                        let high = f32x4_convert_i32x4(i32x4_extend_high_i16x8(sum));
                        add4::<MIN>(out, scales[even], low, mins[even]);
                        add4::<MIN>(out.add(BLOCK), scales[odd], high, mins[odd]);
                    }
                }
            }
        }
    }
}
