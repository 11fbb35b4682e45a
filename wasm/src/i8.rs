//! Dot products of byte rows (I8, I8M: a scale per 32 weights; I8H, I8HM: one per 16) with quantised activations.
//!
//! Weights are sign-extended as they are loaded and multiplied as i16 pairs (`i32x4_dot_i16x8`): exact for every byte, -128 too, and the same on
//! every CPU, where relaxed SIMD leaves an 8-bit second operand to the machine. Activations come as i16 for it. Lane L belongs to block L.

use crate::coefficients::{add4, broadcast, quantise, ROWS};
use crate::f16::load4_f16;
use crate::layout::activation::{self, HALF_SUMS, SCALES, SUMS, WORDS};
use crate::layout::{groups, BLOCK, BYTES as WEIGHTS, GROUP};
use crate::matmul::Rows;
use crate::simd::*;

/// `HALVES`: scales per block of 32 (1 or 2). `MIN`: whether the kind has mins.
pub struct Bytes<const HALVES: usize, const MIN: bool>;

impl<const HALVES: usize, const MIN: bool> Bytes<HALVES, MIN> {
    /// I8, which has f16 scales.
    const PLAIN: bool = HALVES == 1 && !MIN;
    const GROUP_BYTES: usize = WEIGHTS
        + match (Self::PLAIN, MIN) {
            (true, _) => 8,
            (false, false) => 16 * HALVES,
            (false, true) => 32 * HALVES,
        };

    /// The scales of the four blocks, or of their first or second halves.
    #[inline(always)]
    unsafe fn scales(group: *const u8, half: usize) -> v128 {
        if Self::PLAIN {
            load4_f16(group.add(WEIGHTS).cast())
        } else {
            load(group.add(WEIGHTS + 16 * half))
        }
    }
}

impl<const HALVES: usize, const MIN: bool> Rows for Bytes<HALVES, MIN> {
    const TILE_ROWS: usize = 2;

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
                    scales[r] = Self::scales(rows[r], h);
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

    /// Pairs of rows side by side are multiplied as i16: i32 holds the sums of a dozen rows of 128 * 16256 (127 * 128, so that what i8 holds, it does).
    #[inline(always)]
    unsafe fn add(
        rows: &[*const u8; ROWS],
        offset: usize,
        h: &[f32; ROWS],
        _width: usize,
        out: *mut f32,
    ) {
        for half in 0..HALVES {
            let mut min = zero();
            let c = core::array::from_fn(|r| {
                let group = rows[r].add(offset);
                if MIN {
                    let mins = load(group.add(WEIGHTS + 16 * (HALVES + half)));
                    min = madd(f32x4_splat(h[r]), mins, min);
                }
                f32x4_mul(f32x4_splat(h[r]), Self::scales(group, half))
            });
            let coefficients = quantise::<16256>(&c);
            let pairs = coefficients.words();
            let scales = broadcast(coefficients.scale);
            let mins = broadcast(min);
            let units = 16 / HALVES;
            for j in (half * units..(half + 1) * units).step_by(2) {
                // Columns 2j, 2j + 1 and the two after them: of blocks 0 and 1, then of 2 and 3.
                let mut sums = [[zero(); 2]; 2];
                for p in 0..ROWS / 2 {
                    for i in 0..2 {
                        let at = offset + 8 * (j + i);
                        let first = i16x8_load_extend_i8x8(rows[2 * p].add(at).cast());
                        let second = i16x8_load_extend_i8x8(rows[2 * p + 1].add(at).cast());
                        let words = [
                            i16x8_interleave_low(first, second),
                            i16x8_interleave_high(first, second),
                        ];
                        for pair in 0..2 {
                            let dot = i32x4_dot_i16x8(pairs[p][pair], words[pair]);
                            sums[pair][i] = i32x4_add(sums[pair][i], dot);
                        }
                    }
                }
                for pair in 0..2 {
                    let [first, second] = sums[pair];
                    let out = out.add(2 * BLOCK * pair + 2 * j);
                    let [even, odd] = [2 * pair, 2 * pair + 1];
                    let sum = f32x4_convert_i32x4(i32x4_shuffle::<0, 1, 4, 5>(first, second));
                    add4::<MIN>(out, scales[even], sum, mins[even]);
                    let sum = f32x4_convert_i32x4(i32x4_shuffle::<2, 3, 6, 7>(first, second));
                    add4::<MIN>(out.add(BLOCK), scales[odd], sum, mins[odd]);
                }
            }
        }
    }
}
