//! Dot products of nibble rows (Q4: w = s (q - 8); Q4M, Q4K, K4: w = s q + m) with quantised
//! activations.
//!
//! A group of 128 weights is 4 vectors of nibbles; lane L holds block L's. Sixteen products of i8
//! and (q - 8), at most 16 x 127 x 8 = 16256, or of i8 and q, 16 x 127 x 15 = 30480, are summed in
//! a lane of i16, then once in i32. Q4's sums begin at -8 times the sum of the i8; they may wrap on
//! their way, not at its end. The high nibbles are taken by a 16-bit shift and a mask, since x86
//! has no byte shift. The integer part is exact; a result's error is that of the activations plus
//! f32 rounding of one multiply-add per block.
//!
//! The loops are written for V8, which checks the bounds of each load, spills vectors beyond 15 and
//! makes a constant anew at each use. Constants are opaque so that they stay in registers. Each step
//! of a group may be the last, as far as the compiler knows, and so is a block of its own: in one
//! block it would sort the products by sums, for which everything else is spilled.

use crate::coefficients::{add4, broadcast, quantise, Coefficients};
use crate::f16::{load2_raw_f16_twice, load4_raw_f16, widen_raw, HALF_BITS, REBIAS, RESTORE};
use crate::layout::activation::{self, BYTES, LARGE_SCALES, LARGE_SUMS, OFFSETS, SCALES, SUMS};
use crate::layout::{
    group_bytes, head_bytes, nibble_bytes, BLOCK, GROUP, HALF, K4, NIBBLES, Q4, Q4K, Q4M,
};
use crate::matmul::{Matrix, Rows, Tokens, ROWS};
use crate::simd::*;
use crate::unpacked::multiply_unpacked;

/// `KIND`: Q4, Q4M, Q4K or K4. `SUM_I32`: whether products are summed in i32 at once; the results are
/// the same.
#[derive(Clone, Copy)]
pub struct Nibbles<const KIND: u32, const SUM_I32: bool>;

/// Tokens for which the scales of rows of K4 are unpacked first (see six.rs).
const UNPACKED: usize = 24;

/// Calls `step` for each vector of a group's nibbles, or of half of one, where `left` bytes are left;
/// of so many that they are in memory anyway, in a loop.
#[inline(always)]
pub fn for_nibbles<const R: usize>(left: usize, step: &mut impl FnMut(usize)) {
    if R > ROWS {
        for_vectors(left.min(NIBBLES), step);
    } else {
        for_steps(NIBBLES, left, step);
    }
}

/// Calls `step` for each vector of some bytes.
#[inline(always)]
pub fn for_vectors(bytes: usize, step: &mut impl FnMut(usize)) {
    let mut j = 0;
    while j < bytes {
        step(j);
        j += 16;
    }
}

/// The same of the first `left` of so many bytes as the compiler knows, each step a block of its own.
#[inline(always)]
pub fn for_steps(bytes: usize, left: usize, step: &mut impl FnMut(usize)) {
    for j in (0..bytes).step_by(16) {
        if j > 0 && j >= left {
            break;
        }
        step(j);
    }
}

/// The scales and mins of the blocks of a K-quant, by lane: four codes each, and two units.
#[inline(always)]
pub fn k_scales(codes_and_units: v128) -> [v128; 2] {
    let codes = u16x8_extend_low_u8x16(codes_and_units);
    let units = codes_and_units;
    let scales = f32x4_convert_i32x4(i32x4_extend_low_i16x8(codes));
    let mins = f32x4_convert_i32x4(i32x4_extend_high_i16x8(codes));
    [
        f32x4_mul(scales, i32x4_shuffle::<2, 2, 2, 2>(units, units)),
        f32x4_mul(mins, i32x4_shuffle::<3, 3, 3, 3>(units, units)),
    ]
}

impl<const KIND: u32, const SUM_I32: bool> Nibbles<KIND, SUM_I32> {
    const MIN: bool = KIND != Q4;
    /// Whether scales and mins are f16.
    const F16: bool = matches!(KIND, Q4 | Q4M);
    const HEAD: usize = head_bytes(KIND);
    const GROUP_BYTES: usize = group_bytes(KIND);

    /// What a row's scales and mins are to be multiplied by, a power of two.
    ///
    /// # Safety
    /// `row` is a packed row of the kind.
    #[inline(always)]
    unsafe fn row_scale(row: *const u8) -> f32 {
        if Self::F16 {
            row.cast::<f32>().read_unaligned()
        } else {
            1.0
        }
    }

    /// The scales and mins of a group's blocks by lane, from `at` on; halves 2^-112 times as large.
    /// `mask` is `HALF_BITS`.
    ///
    /// # Safety
    /// `group` is a packed one of the kind.
    #[inline(always)]
    unsafe fn raw_scales<const IS_HALF: bool>(at: *const u8, mask: v128) -> [v128; 2] {
        let words = |at: *const u8| if IS_HALF { load8_twice(at) } else { load(at) };
        match KIND {
            Q4 if IS_HALF => [load2_raw_f16_twice(at.cast()), zero()],
            Q4 => [load4_raw_f16(at.cast()), zero()],
            Q4M => widen_raw(words(at), mask),
            K4 => k_scales(load(at)),
            _ => [words(at), words(at.add(if IS_HALF { 8 } else { 16 }))],
        }
    }

    /// The scales and mins of a group's blocks by lane.
    ///
    /// # Safety
    /// `group` is a packed one of the kind.
    #[inline(always)]
    unsafe fn scales<const IS_HALF: bool>(at: *const u8) -> [v128; 2] {
        let raw = Self::raw_scales::<IS_HALF>(at, i32x4_splat(HALF_BITS));
        if Self::F16 {
            raw.map(|raw| f32x4_mul(raw, f32x4_splat(REBIAS)))
        } else {
            raw
        }
    }

    /// The sums of the products of a group's nibbles, or of half of one, where `left` bytes of nibbles
    /// are left.
    ///
    /// # Safety
    /// As for `Rows::dot`, of one group.
    #[inline(always)]
    unsafe fn sum_products<const R: usize, const T: usize>(
        rows: &[*const u8; R],
        tokens: &[*const u8; T],
        left: usize,
        [mask, ones]: [v128; 2],
    ) -> [[v128; T]; R] {
        let mut sums = [[zero(); T]; R];
        if !Self::MIN {
            for t in 0..T {
                let mut offsets = load(tokens[t].add(OFFSETS));
                if SUM_I32 {
                    offsets = i32x4_dot_i16x8(offsets, ones);
                }
                for r in 0..R {
                    sums[r][t] = offsets;
                }
            }
        }
        let add = |sum: v128, x: v128, w: v128| {
            if SUM_I32 {
                dot_i7_i32(x, w, sum)
            } else {
                i16x8_add(sum, dot_i7(x, w))
            }
        };
        let mut take = |j: usize| {
            let mut x = [[zero(); 2]; T];
            for t in 0..T {
                x[t] = [load(tokens[t].add(BYTES + j)), load(tokens[t].add(BYTES + 64 + j))];
            }
            for r in 0..R {
                let w = masked_nibbles(load(rows[r].add(j)), mask);
                for half in [0, 1] {
                    for t in 0..T {
                        sums[r][t] = add(sums[r][t], x[t][half], w[half]);
                    }
                }
            }
        };
        for_nibbles::<R>(left, &mut take);
        if SUM_I32 {
            return sums;
        }
        sums.map(|row| row.map(|sum| i32x4_dot_i16x8(sum, ones)))
    }

    /// Adds the products of a group, or of half of one, of which `left` bytes of nibbles are left.
    ///
    /// # Safety
    /// As for `Rows::dot`, of one group.
    #[inline(always)]
    unsafe fn add_products<const R: usize, const T: usize>(
        rows: &[*const u8; R],
        tokens: &[*const u8; T],
        left: usize,
        [mask, ones, half_bits]: [v128; 3],
        out: &mut [[v128; T]; R],
    ) {
        let sums = Self::sum_products(rows, tokens, left, [mask, ones]);
        if left < NIBBLES {
            Self::add_scaled::<R, T, true>(rows, tokens, sums, half_bits, out);
        } else {
            Self::add_scaled::<R, T, false>(rows, tokens, sums, half_bits, out);
        }
    }

    /// Adds a group's sums times their scales, and the mins' part, to `out`.
    ///
    /// # Safety
    /// As for `Rows::dot`, of one group.
    #[inline(always)]
    unsafe fn add_scaled<const R: usize, const T: usize, const IS_HALF: bool>(
        rows: &[*const u8; R],
        tokens: &[*const u8; T],
        sums: [[v128; T]; R],
        half_bits: v128,
        out: &mut [[v128; T]; R],
    ) {
        let mut x = [[zero(); 2]; T];
        for t in 0..T {
            let at = if Self::F16 { [LARGE_SCALES, LARGE_SUMS] } else { [SCALES, SUMS] };
            x[t] = at.map(|at| load(tokens[t].add(at)));
        }
        for r in 0..R {
            let at = rows[r].add(if IS_HALF { NIBBLES / 2 } else { NIBBLES });
            let [scale, min] = Self::raw_scales::<IS_HALF>(at, half_bits);
            for t in 0..T {
                let [x_scale, x_sum] = x[t];
                let sum = f32x4_convert_i32x4(sums[r][t]);
                out[r][t] = madd(sum, f32x4_mul(scale, x_scale), out[r][t]);
                if Self::MIN {
                    out[r][t] = madd(min, x_sum, out[r][t]);
                }
            }
        }
    }

    /// The coefficients of a group's rows, or of half of one's, and the sum of their mins' parts.
    ///
    /// # Safety
    /// As for `Rows::add`, where the group is whole, or half.
    #[inline(always)]
    unsafe fn coefficients<const IS_HALF: bool, const N: usize>(
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
    ) -> (Coefficients<N>, v128) {
        let nibbles = if IS_HALF { NIBBLES / 2 } else { NIBBLES };
        let mut min = zero();
        let c: [v128; N] = core::array::from_fn(|r| {
            let [scale, row_min] = Self::scales::<IS_HALF>(rows[r].add(offset + nibbles));
            let h = f32x4_splat(h[r] * Self::row_scale(rows[r]));
            if Self::MIN {
                min = madd(h, row_min, min);
            }
            f32x4_mul(h, scale)
        });
        (quantise::<127, N>(&c), min)
    }

    /// As `add`, of a group or of half of one: products of four rows side by side, summed in i32.
    ///
    /// # Safety
    /// As for `Rows::add`, where the group is whole, or half.
    #[inline(always)]
    unsafe fn add_fours<const IS_HALF: bool, const N: usize>(
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        out: *mut f32,
    ) {
        let (coefficients, min) = Self::coefficients::<IS_HALF, N>(rows, offset, h);
        let fours = [0, 4, 8].map(|first| coefficients.four(first));
        // 8 times the sum of the coefficients, by block.
        let mut eight = zero();
        if !Self::MIN {
            for four in fours {
                eight = dot_i7_i32(four, i8x16_splat(8), eight);
            }
        }
        let first = broadcast(i32x4_sub(zero(), eight));
        let fours = fours.map(broadcast);
        let scales = broadcast(coefficients.scale);
        let mins = broadcast(min);
        let mask = opaque(i8x16_splat(15));
        // Four rows may be the last, as far as the compiler knows, and so are a block of their own: in
        // one block it would sort the products by sums, for which V8 spills everything else.
        let end = opaque(N);
        for j in 0..if IS_HALF { 2 } else { 4 } {
            // Of a vector's quarters, each of four columns: of blocks 0 to 3, or in a half group
            // of blocks 0 and 1, and of the columns that follow; of low and of high nibbles.
            let block = |quarter: usize| if IS_HALF { quarter % 2 } else { quarter };
            let mut sums = [0, 1, 2, 3].map(|quarter| [first[block(quarter)]; 2]);
            let at = offset + 16 * j;
            let of = |q: usize| [0, 1, 2, 3].map(|quarter| fours[q][block(quarter)]);
            Self::add_four_rows::<0, N>(rows, at, of(0), mask, &mut sums);
            if N > 4 && end > 4 {
                Self::add_four_rows::<4, N>(rows, at, of(1), mask, &mut sums);
                if end > 8 {
                    Self::add_four_rows::<8, N>(rows, at, of(2), mask, &mut sums);
                }
            }
            for (quarter, sums) in sums.into_iter().enumerate() {
                let column = if IS_HALF { 4 * (2 * j + quarter / 2) } else { 4 * j };
                let block = block(quarter);
                for (half, sum) in sums.into_iter().enumerate() {
                    let out = out.add(BLOCK * block + 16 * half + column);
                    Self::add_four(out, scales[block], f32x4_convert_i32x4(sum), mins[block]);
                }
            }
        }
    }

    /// Adds the products of four rows from row `FIRST` on, a vector of each, with the coefficients
    /// of its quarters to their sums.
    ///
    /// # Safety
    /// There are 16 bytes at `at`.
    #[inline(always)]
    unsafe fn add_four_rows<const FIRST: usize, const N: usize>(
        rows: &[*const u8; N],
        at: usize,
        coefficients: [v128; 4],
        mask: v128,
        sums: &mut [[v128; 2]; 4],
    ) {
        let quarters = i8x16_interleave_four([0, 1, 2, 3].map(|r| load(rows[FIRST + r].add(at))));
        for i in 0..4 {
            let [low, high] = masked_nibbles(quarters[i], mask);
            sums[i][0] = dot_i7_i32(coefficients[i], low, sums[i][0]);
            sums[i][1] = dot_i7_i32(coefficients[i], high, sums[i][1]);
        }
    }

    /// The same with products of pairs of rows, summed in i16.
    ///
    /// # Safety
    /// As for `Rows::add`, where the group is whole, or half.
    #[inline(always)]
    unsafe fn add_pairs<const IS_HALF: bool, const N: usize>(
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        out: *mut f32,
    ) {
        let nibbles = if IS_HALF { NIBBLES / 2 } else { NIBBLES };
        let (coefficients, min) = Self::coefficients::<IS_HALF, N>(rows, offset, h);
        let pairs = coefficients.bytes();
        // Of blocks 0 and 1, then of 2 and 3.
        let mut offsets = if Self::MIN { [zero(); 2] } else { coefficients.offsets() };
        if IS_HALF {
            offsets[1] = offsets[0];
        }
        let scales = broadcast(coefficients.scale);
        let mins = broadcast(min);
        let mask = opaque(i8x16_splat(15));
        // Unknown, so that pairs are a loop: unrolled, V8 spills the sums.
        let end = opaque(N / 2);
        for j in (0..nibbles / 16).step_by(2) {
            // Of two vectors of a row: of blocks 0 and 1, then of 2 and 3; of the low nibbles, then
            // of the high ones. A half group has the columns that follow in the place of blocks 2
            // and 3.
            let mut sums = [offsets.map(|offset| [offset; 2]); 2];
            let mut p = 0;
            while p < end {
                for i in 0..2 {
                    let at = offset + 16 * (j + i);
                    let first = load(rows.get_unchecked(2 * p).add(at));
                    let second = load(rows.get_unchecked(2 * p + 1).add(at));
                    let sides =
                        [i8x16_interleave_low(first, second), i8x16_interleave_high(first, second)];
                    for side in 0..2 {
                        let c = pairs.get_unchecked(p)[if IS_HALF { 0 } else { side }];
                        let [low, high] = masked_nibbles(sides[side], mask);
                        let sums = &mut sums[i][side];
                        sums[0] = i16x8_add(sums[0], dot_i7(c, low));
                        sums[1] = i16x8_add(sums[1], dot_i7(c, high));
                    }
                }
                p += 1;
            }
            for i in 0..2 {
                for side in 0..2 {
                    for half in 0..2 {
                        let sum = sums[i][side][half];
                        let (block, quad) =
                            if IS_HALF { (0, 2 * (j + i) + side) } else { (2 * side, j + i) };
                        let out = out.add(BLOCK * block + 16 * half + 4 * quad);
                        let low = f32x4_convert_i32x4(i32x4_extend_low_i16x8(sum));
                        let high = f32x4_convert_i32x4(i32x4_extend_high_i16x8(sum));
                        Self::add_four(out, scales[block], low, mins[block]);
                        Self::add_four(out.add(BLOCK), scales[block + 1], high, mins[block + 1]);
                    }
                }
            }
        }
    }

    /// # Safety
    /// `out` has 4 floats.
    #[inline(always)]
    unsafe fn add_four(out: *mut f32, scale: v128, sum: v128, min: v128) {
        if Self::MIN {
            add4::<true>(out, scale, sum, min);
        } else {
            add4::<false>(out, scale, sum, min);
        }
    }
}

impl<const KIND: u32, const SUM_I32: bool> Rows for Nibbles<KIND, SUM_I32> {
    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        self,
        mut rows: [*const u8; R],
        k: usize,
        mut tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let constants = [i8x16_splat(15), i16x8_splat(1), i32x4_splat(HALF_BITS)].map(opaque);
        // Unknown, so that the rows' beginnings are not kept in registers beside what runs.
        let length = opaque(Self::HEAD + k.div_ceil(GROUP) * Self::GROUP_BYTES);
        for row in &mut rows {
            *row = row.wrapping_add(Self::HEAD);
        }
        let mut out = [[zero(); T]; R];
        let mut left = opaque(nibble_bytes(k));
        while left > 0 {
            Self::add_products(&rows, &tokens, left, constants, &mut out);
            // One by one: arrays of two pointers would be passed on as one number.
            for row in &mut rows {
                *row = row.wrapping_add(Self::GROUP_BYTES);
            }
            for token in &mut tokens {
                *token = token.wrapping_add(activation::GROUP_BYTES);
            }
            left -= left.min(NIBBLES);
        }
        core::array::from_fn(|r| {
            let row = rows[r].wrapping_sub(length);
            let restore = if Self::F16 { RESTORE * Self::row_scale(row) } else { 1.0 };
            out[r].map(|sum| sum_f32(sum) * restore)
        })
    }

    unsafe fn multiply_unpacked(self, matrix: &Matrix, tokens: &Tokens, n_tokens: usize) -> bool {
        let unpack = |from: *const u8, to: *mut u8| {
            for i in (0..NIBBLES).step_by(16) {
                store(to.add(i), load(from.add(i)));
            }
            for (i, numbers) in k_scales(load(from.add(NIBBLES))).into_iter().enumerate() {
                store(to.add(NIBBLES + 16 * i), numbers);
            }
        };
        let kernel = Nibbles::<Q4K, SUM_I32>;
        let kinds = [K4, Q4K];
        KIND == K4
            && n_tokens >= UNPACKED
            && multiply_unpacked(kernel, kinds, unpack, matrix, tokens, n_tokens)
    }

    fn column_bytes(column: usize) -> usize {
        column / GROUP * Self::GROUP_BYTES
    }

    /// Pairs of rows side by side are multiplied as bytes: i16 holds the sums of a dozen rows of 15
    /// * 127.
    #[inline(always)]
    unsafe fn add<const N: usize>(
        self,
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        width: usize,
        out: *mut f32,
    ) {
        let offset = Self::HEAD + offset;
        match (width > HALF, SUM_I32) {
            (true, true) => Self::add_fours::<false, N>(rows, offset, h, out),
            (true, false) => Self::add_pairs::<false, N>(rows, offset, h, out),
            (false, true) => Self::add_fours::<true, N>(rows, offset, h, out),
            (false, false) => Self::add_pairs::<true, N>(rows, offset, h, out),
        }
    }
}
