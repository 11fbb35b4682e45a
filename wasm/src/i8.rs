//! Dot products of byte rows (I8, I8M: a scale per 32 weights; I8H, I8HM: one per 16) with
//! quantised activations.
//!
//! Weights are sign-extended as they are loaded and multiplied as i16 pairs (`i32x4_dot_i16x8`):
//! exact for every byte, -128 too, and the same on every CPU, where relaxed SIMD leaves an 8-bit
//! second operand to the machine. Activations come as i16 for it. Lane L belongs to block L.

use crate::coefficients::{add4, broadcast, quantise};
use crate::f16::{load2_raw_f16_twice, load4_f16, REBIAS};
use crate::layout::activation::bytes::{self, HALF_SUMS, SCALES, SUMS, WORDS};
use crate::layout::{groups, has_half, BLOCK, BYTES as WEIGHTS, GROUP, HALF};
use crate::matmul::Rows;
use crate::simd::*;

/// `HALVES`: scales per block of 32 (1 or 2). `MIN`: whether the kind has mins.
#[derive(Clone, Copy)]
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

    /// Vector `i` of f32 behind the weights, by lane.
    ///
    /// # Safety
    /// `group` is a packed one of the kind, whole or half, with such a vector.
    #[inline(always)]
    unsafe fn f32s<const IS_HALF: bool>(group: *const u8, i: usize) -> v128 {
        if IS_HALF {
            load8_twice(group.add(WEIGHTS / 2 + 8 * i))
        } else {
            load(group.add(WEIGHTS + 16 * i))
        }
    }

    /// The scales of the blocks, or of their first or second halves.
    ///
    /// # Safety
    /// `group` is a packed one of the kind, `half` below `HALVES`.
    #[inline(always)]
    unsafe fn scales<const IS_HALF: bool>(group: *const u8, half: usize) -> v128 {
        if !Self::PLAIN {
            Self::f32s::<IS_HALF>(group, half)
        } else if IS_HALF {
            f32x4_mul(load2_raw_f16_twice(group.add(WEIGHTS / 2).cast()), f32x4_splat(REBIAS))
        } else {
            load4_f16(group.add(WEIGHTS).cast())
        }
    }

    /// Adds the products of a group, or of half of one.
    ///
    /// # Safety
    /// As for `Rows::dot`, of one group.
    #[inline(always)]
    unsafe fn dot_group<const R: usize, const T: usize, const IS_HALF: bool>(
        rows: [*const u8; R],
        tokens: [*const u8; T],
        sums: &mut [[v128; T]; R],
    ) {
        let units = 16 / HALVES / if IS_HALF { 2 } else { 1 };
        for h in 0..HALVES {
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
                scales[r] = Self::scales::<IS_HALF>(rows[r], h);
            }
            for t in 0..T {
                let x_scale = load(tokens[t].add(SCALES));
                for r in 0..R {
                    let scale = f32x4_mul(scales[r], x_scale);
                    sums[r][t] = madd(f32x4_convert_i32x4(dots[r][t]), scale, sums[r][t]);
                    if MIN {
                        let min = Self::f32s::<IS_HALF>(rows[r], HALVES + h);
                        let at = if HALVES == 1 { SUMS } else { HALF_SUMS + 16 * h };
                        sums[r][t] = madd(min, load(tokens[t].add(at)), sums[r][t]);
                    }
                }
            }
        }
    }

    /// As `add`, of a group or of half of one.
    ///
    /// # Safety
    /// As for `Rows::add`, where the group is whole, or half.
    #[inline(always)]
    unsafe fn add_group<const IS_HALF: bool, const N: usize>(
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        out: *mut f32,
    ) {
        for half in 0..HALVES {
            let mut min = zero();
            let c: [v128; N] = core::array::from_fn(|r| {
                let group = rows[r].add(offset);
                if MIN {
                    let mins = Self::f32s::<IS_HALF>(group, HALVES + half);
                    min = madd(f32x4_splat(h[r]), mins, min);
                }
                f32x4_mul(f32x4_splat(h[r]), Self::scales::<IS_HALF>(group, half))
            });
            let coefficients = quantise::<16256, N>(&c);
            let pairs = coefficients.words();
            let scales = broadcast(coefficients.scale);
            let mins = broadcast(min);
            let units = 16 / HALVES / if IS_HALF { 2 } else { 1 };
            for j in (half * units..(half + 1) * units).step_by(2) {
                // Columns 2j, 2j + 1 and the two after them: of blocks 0 and 1, then of 2 and 3. A
                // half group has in the place of these, from unit to unit, the columns that follow.
                let mut sums = [[zero(); 2]; 2];
                for p in 0..N / 2 {
                    for i in 0..2 {
                        let at = offset + 8 * (j + i);
                        let first = i16x8_load_extend_i8x8(rows[2 * p].add(at).cast());
                        let second = i16x8_load_extend_i8x8(rows[2 * p + 1].add(at).cast());
                        let words = [
                            i16x8_interleave_low(first, second),
                            i16x8_interleave_high(first, second),
                        ];
                        for side in 0..2 {
                            let c = pairs[p][if IS_HALF { 0 } else { side }];
                            let dot = i32x4_dot_i16x8(c, words[side]);
                            let sum = if IS_HALF { &mut sums[i][side] } else { &mut sums[side][i] };
                            *sum = i32x4_add(*sum, dot);
                        }
                    }
                }
                for (side, [first, second]) in sums.into_iter().enumerate() {
                    let (block, column) =
                        if IS_HALF { (0, 4 * (j + side)) } else { (2 * side, 2 * j) };
                    let out = out.add(BLOCK * block + column);
                    let sum = f32x4_convert_i32x4(lower_words(first, second));
                    add4::<MIN>(out, scales[block], sum, mins[block]);
                    let sum = f32x4_convert_i32x4(i32x4_shuffle::<2, 3, 6, 7>(first, second));
                    add4::<MIN>(out.add(BLOCK), scales[block + 1], sum, mins[block + 1]);
                }
            }
        }
    }
}

impl<const HALVES: usize, const MIN: bool> Rows for Bytes<HALVES, MIN> {
    const TILE_ROWS: usize = 2;

    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        self,
        mut rows: [*const u8; R],
        k: usize,
        mut tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let mut sums = [[zero(); T]; R];
        for _ in 0..groups(k) {
            Self::dot_group::<R, T, false>(rows, tokens, &mut sums);
            rows = rows.map(|w| w.wrapping_add(Self::GROUP_BYTES));
            tokens = tokens.map(|a| a.wrapping_add(bytes::GROUP_BYTES));
        }
        if has_half(k) {
            Self::dot_group::<R, T, true>(rows, tokens, &mut sums);
        }
        sums.map(|row| row.map(sum_f32))
    }

    fn column_bytes(column: usize) -> usize {
        column / GROUP * Self::GROUP_BYTES
    }

    /// Pairs of rows side by side are multiplied as i16: i32 holds the sums of a dozen rows of 128
    /// * 16256 (127 * 128, so that what i8 holds, it does).
    #[inline(always)]
    unsafe fn add<const N: usize>(
        self,
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        width: usize,
        out: *mut f32,
    ) {
        if width > HALF {
            Self::add_group::<false, N>(rows, offset, h, out);
        } else {
            Self::add_group::<true, N>(rows, offset, h, out);
        }
    }
}
