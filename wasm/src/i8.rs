//! Dot products of byte rows (I8, I8M: a scale per 32 weights; I8H, I8HM: one per 16) with
//! quantised activations.
//!
//! Bytes are the weights plus 128, without a sign; sums of products begin with what that adds to
//! them, -128 times the sum of the activations. Where the CPU has an instruction that multiplies
//! and sums bytes (`byte_dot`), it is taken; elsewhere they become i16 pairs. The integer part is
//! exact either way, and so the results are the same. Lane L belongs to block L.

use crate::coefficients::{add4, broadcast, quantise, Coefficients};
use crate::f16::{widen, HALF_BIAS};
use crate::layout::activation::{BYTES as ACTIVATIONS, GROUP_BYTES, HALF_SUMS, SCALES, SUMS};
use crate::layout::{groups, has_half, BLOCK, BYTES as WEIGHTS, GROUP, HALF};
use crate::matmul::{Rows, ROWS};
use crate::q4::{for_steps, for_vectors};
use crate::simd::*;

/// How bytes are multiplied: by one instruction, which takes them without a sign or with one, or as
/// i16 pairs.
const UNSIGNED: u8 = 0;
const SIGNED: u8 = 1;
const PAIRS: u8 = 2;
/// The same on every CPU, of bytes below 128.
const SMALL: u8 = 3;
/// Of bytes below 64, by fours (`add_fours`).
const FOURS: u8 = 4;

/// Factors of `HALF_SUMS` that give what sums begin with: of whole blocks, of their first halves and
/// of their second halves.
static OFFSETS: [[i16; 8]; 3] =
    [[-128; 8], [-128, 0, -128, 0, -128, 0, -128, 0], [0, -128, 0, -128, 0, -128, 0, -128]];

/// `HALVES`: scales per block of 32 (1 or 2). `MIN`: whether the kind has mins. `BITS`: 8, or 6 of
/// bytes that are the weights plus 32 (six.rs).
#[derive(Clone, Copy)]
pub struct Bytes<const HALVES: usize, const MIN: bool, const BITS: u32>;

/// Adds the products of two vectors with bytes below 64, four of which i16 holds: 4 * 127 * 63 =
/// 32004. It takes less than `dot_i7_i32` where that is put together of others (`byte_dot`).
#[inline(always)]
pub fn add_fours(x: [v128; 2], w: [v128; 2], sum: v128, ones: v128) -> v128 {
    let fours = i16x8_add(dot_i7(x[0], w[0]), dot_i7(x[1], w[1]));
    i32x4_add(sum, i32x4_dot_i16x8(fours, ones))
}

impl<const HALVES: usize, const MIN: bool, const BITS: u32> Bytes<HALVES, MIN, BITS> {
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

    /// The scales of the blocks, or of their first or second halves. `bias` is `HALF_BIAS`.
    ///
    /// # Safety
    /// `group` is a packed one of the kind, `half` below `HALVES`.
    #[inline(always)]
    unsafe fn scales<const IS_HALF: bool>(group: *const u8, half: usize, bias: v128) -> v128 {
        if !Self::PLAIN {
            Self::f32s::<IS_HALF>(group, half)
        } else if IS_HALF {
            widen(i32x4_extend_low_i16x8(v128_load32_splat(group.add(WEIGHTS / 2).cast())), bias)
        } else {
            widen(i32x4_load_extend_i16x4(group.add(WEIGHTS).cast()), bias)
        }
    }

    /// -128 (-32) times the sums of a token's activations: of its blocks, or of their halves `half`.
    ///
    /// # Safety
    /// `token` is a group of activations, `half` below `HALVES`.
    #[inline(always)]
    pub unsafe fn offsets(token: *const u8, half: usize) -> v128 {
        let offsets =
            i32x4_dot_i16x8(load(token.add(HALF_SUMS)), load(&OFFSETS[HALVES - 1 + half]));
        if BITS < 8 {
            i32x4_shr(offsets, 8 - BITS)
        } else {
            offsets
        }
    }

    /// Adds the products of a group, or of half of one. `bytes` are those of its blocks, or of their
    /// halves.
    ///
    /// # Safety
    /// As for `Rows::dot`, of one group.
    #[inline(always)]
    unsafe fn dot_group<const R: usize, const T: usize, const IS_HALF: bool, const HOW: u8>(
        rows: [*const u8; R],
        tokens: [*const u8; T],
        bytes: usize,
        [flip, bias, ones]: [v128; 3],
        sums: &mut [[v128; T]; R],
    ) {
        for half in 0..HALVES {
            let mut dots = [[zero(); T]; R];
            if HOW != SIGNED {
                for t in 0..T {
                    let offsets = Self::offsets(tokens[t], half);
                    for r in 0..R {
                        dots[r][t] = offsets;
                    }
                }
            }
            // The second halves of half a group's activations lie where a group's do.
            let place = |j: usize| ACTIVATIONS + if IS_HALF { j + (j & 32) } else { j };
            let mut step = |j: usize| {
                let at = place(j);
                if HOW == FOURS {
                    for r in 0..R {
                        let w = [0, 16].map(|i| load(rows[r].add(j + i)));
                        for t in 0..T {
                            let x = [0, 16].map(|i| load(tokens[t].add(at + i)));
                            dots[r][t] = add_fours(x, w, dots[r][t], ones);
                        }
                    }
                    return;
                }
                let mut x = [zero(); T];
                for t in 0..T {
                    x[t] = load(tokens[t].add(at));
                }
                for r in 0..R {
                    let mut w = load(rows[r].add(j));
                    if HOW == SIGNED {
                        w = v128_xor(w, flip);
                    }
                    for t in 0..T {
                        dots[r][t] = match HOW {
                            UNSIGNED => dot_i8_i32::<false>(x[t], w, dots[r][t]),
                            SIGNED => dot_i8_i32::<true>(x[t], w, dots[r][t]),
                            SMALL => dot_i7_i32(x[t], w, dots[r][t]),
                            _ => dot_pairs::<false>(x[t], w, dots[r][t]),
                        };
                    }
                }
            };
            let first = half * if IS_HALF { WEIGHTS / 2 } else { WEIGHTS } / HALVES;
            if HOW == FOURS {
                for j in (0..bytes).step_by(32) {
                    step(first + j);
                }
            } else if R > ROWS || HOW == PAIRS {
                for_vectors(bytes, &mut |j| step(first + j));
            } else {
                for_steps(WEIGHTS / HALVES, bytes, &mut |j| step(first + j));
            }
            let mut x_scales = [zero(); T];
            let mut x_sums = [zero(); T];
            for t in 0..T {
                x_scales[t] = load(tokens[t].add(SCALES));
                if MIN && HALVES == 1 {
                    x_sums[t] = load(tokens[t].add(SUMS));
                } else if MIN {
                    let sums = f32x4_convert_i32x4(Self::offsets(tokens[t], half));
                    x_sums[t] = f32x4_mul(
                        f32x4_mul(sums, f32x4_splat(-2.0 / (1 << BITS) as f32)),
                        x_scales[t],
                    );
                }
            }
            for r in 0..R {
                let scales = Self::scales::<IS_HALF>(rows[r], half, bias);
                for t in 0..T {
                    let scale = f32x4_mul(scales, x_scales[t]);
                    sums[r][t] = madd(f32x4_convert_i32x4(dots[r][t]), scale, sums[r][t]);
                    if MIN {
                        let mins = Self::f32s::<IS_HALF>(rows[r], HALVES + half);
                        sums[r][t] = madd(mins, x_sums[t], sums[r][t]);
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for `Rows::dot`.
    #[inline(always)]
    unsafe fn dot_rows<const R: usize, const T: usize, const HOW: u8>(
        mut rows: [*const u8; R],
        k: usize,
        mut tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        // Not known to the compiler (see q4.rs): there are fewer in half a group.
        let bytes = opaque(WEIGHTS / HALVES);
        let constants = [i8x16_splat(-128), i32x4_splat(HALF_BIAS), i16x8_splat(1)].map(opaque);
        let mut sums = [[zero(); T]; R];
        for _ in 0..groups(k) {
            Self::dot_group::<R, T, false, HOW>(rows, tokens, bytes, constants, &mut sums);
            rows = rows.map(|w| w.wrapping_add(Self::GROUP_BYTES));
            tokens = tokens.map(|a| a.wrapping_add(GROUP_BYTES));
        }
        if has_half(k) {
            Self::dot_group::<R, T, true, HOW>(rows, tokens, bytes / 2, constants, &mut sums);
        }
        sums.map(|row| row.map(sum_f32))
    }

    /// The coefficients of a group's rows, or of half of one's: of its blocks, or of their halves
    /// `half`; and the sum of their mins' parts.
    ///
    /// # Safety
    /// As for `Rows::add`, where the group is whole, or half.
    #[inline(always)]
    unsafe fn coefficients<const IS_HALF: bool, const N: usize>(
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        half: usize,
    ) -> (Coefficients<N>, v128) {
        let bias = opaque(i32x4_splat(HALF_BIAS));
        let mut min = zero();
        let c: [v128; N] = core::array::from_fn(|r| {
            let group = rows[r].add(offset);
            if MIN {
                let mins = Self::f32s::<IS_HALF>(group, HALVES + half);
                min = madd(f32x4_splat(h[r]), mins, min);
            }
            f32x4_mul(f32x4_splat(h[r]), Self::scales::<IS_HALF>(group, half, bias))
        });
        (quantise::<16256, N>(&c), min)
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
        match byte_dot() {
            Some(ByteDot::Unsigned) => Self::add_fours::<IS_HALF, false, N>(rows, offset, h, out),
            Some(ByteDot::Signed) => Self::add_fours::<IS_HALF, true, N>(rows, offset, h, out),
            None => Self::add_pairs::<IS_HALF, N>(rows, offset, h, out),
        }
    }

    /// The same with products of four rows side by side, with the upper and with the lower 7 bits of
    /// their coefficients.
    ///
    /// # Safety
    /// As for `Rows::add`, where the group is whole, or half.
    #[inline(always)]
    unsafe fn add_fours<const IS_HALF: bool, const SIGNED: bool, const N: usize>(
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        out: *mut f32,
    ) {
        let vectors = if IS_HALF { 4 } else { 8 } / HALVES;
        // Numbers of fewer bits are the same with a sign and without.
        let flips = SIGNED && BITS == 8;
        let flip = opaque(i8x16_splat(if flips { -128 } else { 0 }));
        let end = opaque(N);
        for half in 0..HALVES {
            let (coefficients, min) = Self::coefficients::<IS_HALF, N>(rows, offset, h, half);
            let sevens =
                coefficients.sevens().map(|part| [0, 4, 8].map(|r| broadcast(part.four(r))));
            let offsets = if flips { zero() } else { i32x4_shl(coefficients.sum, BITS - 1) };
            let offsets = broadcast(i32x4_sub(zero(), offsets));
            let scales = broadcast(coefficients.scale);
            let mins = broadcast(min);
            // Of a vector's quarters: of blocks 0 to 3, or in half a group of blocks 0 and 1, and of
            // the columns that follow.
            let block = |quarter: usize| if IS_HALF { quarter % 2 } else { quarter };
            for j in half * vectors..(half + 1) * vectors {
                let mut sums = [[zero(); 4], [0, 1, 2, 3].map(|quarter| offsets[block(quarter)])];
                let of = |four: usize| {
                    sevens.map(|part| [0, 1, 2, 3].map(|quarter| part[four][block(quarter)]))
                };
                let at = offset + 16 * j;
                // Four rows may be the last, as far as the compiler knows (see q4.rs).
                Self::add_four_rows::<0, SIGNED, N>(rows, at, of(0), flip, &mut sums);
                if N > 4 && end > 4 {
                    Self::add_four_rows::<4, SIGNED, N>(rows, at, of(1), flip, &mut sums);
                    if end > 8 {
                        Self::add_four_rows::<8, SIGNED, N>(rows, at, of(2), flip, &mut sums);
                    }
                }
                for quarter in 0..4 {
                    let block = block(quarter);
                    let quad = if IS_HALF { 2 * j + quarter / 2 } else { j };
                    let sum = i32x4_add(i32x4_shl(sums[0][quarter], 7), sums[1][quarter]);
                    let out = out.add(BLOCK * block + 4 * quad);
                    add4::<MIN>(out, scales[block], f32x4_convert_i32x4(sum), mins[block]);
                }
            }
        }
    }

    /// Adds the products of four rows from row `FIRST` on, a vector of each, with the upper and the
    /// lower bits of the coefficients of its quarters to their sums.
    ///
    /// # Safety
    /// There are 16 bytes at `at`.
    #[inline(always)]
    unsafe fn add_four_rows<const FIRST: usize, const SIGNED: bool, const N: usize>(
        rows: &[*const u8; N],
        at: usize,
        coefficients: [[v128; 4]; 2],
        flip: v128,
        sums: &mut [[v128; 4]; 2],
    ) {
        let four = [0, 1, 2, 3].map(|r| {
            let w = load(rows[FIRST + r].add(at));
            if SIGNED && BITS == 8 {
                v128_xor(w, flip)
            } else {
                w
            }
        });
        for (quarter, w) in i8x16_interleave_four(four).into_iter().enumerate() {
            for part in 0..2 {
                let sum = &mut sums[part][quarter];
                *sum = dot_i8_i32::<SIGNED>(coefficients[part][quarter], w, *sum);
            }
        }
    }

    /// The same with products of pairs of rows, as i16.
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
        let vectors = if IS_HALF { 4 } else { 8 } / HALVES;
        for half in 0..HALVES {
            let (coefficients, min) = Self::coefficients::<IS_HALF, N>(rows, offset, h, half);
            let pairs = coefficients.words();
            let offsets = broadcast(i32x4_sub(zero(), i32x4_shl(coefficients.sum, BITS - 1)));
            let scales = broadcast(coefficients.scale);
            let mins = broadcast(min);
            // Of a vector's lower and upper half: of blocks 0 and 1, then of 2 and 3. Half a group
            // has the columns that follow in the place of the latter.
            for side in 0..2 {
                let block = if IS_HALF { 0 } else { 2 * side };
                for j in (half * vectors..(half + 1) * vectors).step_by(2) {
                    let mut sums = [[offsets[block], offsets[block + 1]]; 2];
                    for p in 0..N / 2 {
                        for i in 0..2 {
                            let at = offset + 16 * (j + i) + 8 * side;
                            let first = i16x8_load_extend_u8x8(rows[2 * p].add(at));
                            let second = i16x8_load_extend_u8x8(rows[2 * p + 1].add(at));
                            let words = [
                                i16x8_interleave_low(first, second),
                                i16x8_interleave_high(first, second),
                            ];
                            for b in 0..2 {
                                let dot = i32x4_dot_i16x8(pairs[p][block + b], words[b]);
                                sums[i][b] = i32x4_add(sums[i][b], dot);
                            }
                        }
                    }
                    for i in 0..2 {
                        let quad = if IS_HALF { 2 * (j + i) + side } else { j + i };
                        for b in 0..2 {
                            let out = out.add(BLOCK * (block + b) + 4 * quad);
                            let (sum, b) = (f32x4_convert_i32x4(sums[i][b]), block + b);
                            add4::<MIN>(out, scales[b], sum, mins[b]);
                        }
                    }
                }
            }
        }
    }
}

impl<const HALVES: usize, const MIN: bool, const BITS: u32> Rows for Bytes<HALVES, MIN, BITS> {
    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        self,
        rows: [*const u8; R],
        k: usize,
        tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        if BITS < 8 {
            return if byte_dot().is_some() {
                Self::dot_rows::<R, T, SMALL>(rows, k, tokens)
            } else {
                Self::dot_rows::<R, T, FOURS>(rows, k, tokens)
            };
        }
        match byte_dot() {
            Some(ByteDot::Unsigned) => Self::dot_rows::<R, T, UNSIGNED>(rows, k, tokens),
            Some(ByteDot::Signed) => Self::dot_rows::<R, T, SIGNED>(rows, k, tokens),
            None => Self::dot_rows::<R, T, PAIRS>(rows, k, tokens),
        }
    }

    fn column_bytes(column: usize) -> usize {
        column / GROUP * Self::GROUP_BYTES
    }

    /// i32 holds the sums of a dozen rows of 255 * 16256: 127 * 128, so that what i8 holds, it does.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activations::quantise_activations;
    use crate::layout::{activation_row_bytes, group_bytes, packed_row_bytes, I8, I8H, I8HM, I8M};

    /// Random bytes.
    fn random() -> impl FnMut() -> u8 {
        let mut state = 1u32;
        move || {
            state = state.wrapping_mul(0x915f_77f5).wrapping_add(12345);
            (state >> 24) as u8
        }
    }

    /// Packed rows of `k` random weights. Scales are any f32 but the largest ones, infinities and NaN:
    /// the halves of these too.
    fn random_rows(kind: u32, k: usize, count: usize, random: &mut impl FnMut() -> u8) -> Vec<u8> {
        let row_bytes = packed_row_bytes(kind, k);
        let mut rows: Vec<u8> = (0..count * row_bytes).map(|_| random()).collect();
        for group in rows.chunks_mut(row_bytes).flat_map(|row| row.chunks_mut(group_bytes(kind))) {
            let weights = if group.len() < group_bytes(kind) { WEIGHTS / 2 } else { WEIGHTS };
            group[weights..].iter_mut().skip(1).step_by(2).for_each(|byte| *byte &= 0xbb);
        }
        rows
    }

    /// Two tokens of `k` random activations, quantised.
    fn two_tokens(k: usize, random: &mut impl FnMut() -> u8) -> Vec<u8> {
        let x: Vec<f32> = (0..2 * k).map(|_| f32::from(random()) - 128.0).collect();
        let row_bytes = activation_row_bytes(k);
        let mut tokens = vec![0u8; 2 * row_bytes];
        unsafe { quantise_activations(x.as_ptr(), k, 2, k, tokens.as_mut_ptr(), row_bytes) };
        tokens
    }

    fn pointers(tokens: &[u8]) -> [*const u8; 2] {
        [0, tokens.len() / 2].map(|at| tokens[at..].as_ptr())
    }

    /// Sums of products of random bytes, multiplied in each way.
    fn check<const HALVES: usize, const MIN: bool>(kind: u32) {
        let k = 320;
        let mut random = random();
        let tokens = two_tokens(k, &mut random);
        let row = random_rows(kind, k, 1, &mut random);
        unsafe {
            let (row, tokens) = (row.as_ptr(), pointers(&tokens));
            let bits = |dots: [[f32; 2]; 1]| dots.map(|row| row.map(f32::to_bits));
            let expected = bits(Bytes::<HALVES, MIN, 8>::dot_rows::<1, 2, PAIRS>([row], k, tokens));
            let unsigned = Bytes::<HALVES, MIN, 8>::dot_rows::<1, 2, UNSIGNED>([row], k, tokens);
            assert_eq!(bits(unsigned), expected, "kind {kind}");
            let signed = Bytes::<HALVES, MIN, 8>::dot_rows::<1, 2, SIGNED>([row], k, tokens);
            assert_eq!(bits(signed), expected, "kind {kind}");
        }
    }

    /// Sums of `N` rows of random bytes, added in each way: of a group, and of the half group that
    /// follows it.
    fn check_sums<const HALVES: usize, const MIN: bool, const N: usize>(kind: u32) {
        let k = 192;
        let mut random = random();
        let rows = random_rows(kind, k, N, &mut random);
        let rows = core::array::from_fn(|r| rows[r * packed_row_bytes(kind, k)..].as_ptr());
        let h = core::array::from_fn(|_| f32::from(random()) - 128.0);
        type Add<const N: usize> = unsafe fn(&[*const u8; N], usize, &[f32; N], *mut f32);
        let bits = |add: Add<N>, offset: usize| {
            let mut out = vec![1f32; GROUP];
            unsafe { add(&rows, offset, &h, out.as_mut_ptr()) };
            out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let expected = bits(Bytes::<HALVES, MIN, 8>::add_pairs::<false, N>, 0);
        let unsigned = bits(Bytes::<HALVES, MIN, 8>::add_fours::<false, false, N>, 0);
        assert_eq!(unsigned, expected, "kind {kind}, {N} rows");
        let signed = bits(Bytes::<HALVES, MIN, 8>::add_fours::<false, true, N>, 0);
        assert_eq!(signed, expected, "kind {kind}, {N} rows");
        let half = group_bytes(kind);
        let expected = bits(Bytes::<HALVES, MIN, 8>::add_pairs::<true, N>, half);
        let unsigned = bits(Bytes::<HALVES, MIN, 8>::add_fours::<true, false, N>, half);
        assert_eq!(unsigned, expected, "kind {kind}, {N} rows, half a group");
        let signed = bits(Bytes::<HALVES, MIN, 8>::add_fours::<true, true, N>, half);
        assert_eq!(signed, expected, "kind {kind}, {N} rows, half a group");
    }

    /// The same of bytes below 64.
    fn check_small<const HALVES: usize, const MIN: bool>(kind: u32) {
        let k = 320;
        let mut random = random();
        let tokens = two_tokens(k, &mut random);
        let mut row = random_rows(kind, k, 1, &mut random);
        for group in row.chunks_mut(group_bytes(kind)) {
            let weights = if group.len() < group_bytes(kind) { WEIGHTS / 2 } else { WEIGHTS };
            group[..weights].iter_mut().for_each(|byte| *byte &= 63);
        }
        unsafe {
            let (row, tokens) = (row.as_ptr(), pointers(&tokens));
            let bits = |dots: [[f32; 2]; 1]| dots.map(|row| row.map(f32::to_bits));
            let small = Bytes::<HALVES, MIN, 6>::dot_rows::<1, 2, SMALL>([row], k, tokens);
            let fours = Bytes::<HALVES, MIN, 6>::dot_rows::<1, 2, FOURS>([row], k, tokens);
            assert_eq!(bits(fours), bits(small), "kind {kind}");
        }
    }

    #[test]
    fn all_ways_to_multiply_give_the_same_bits() {
        check_small::<1, false>(I8);
        check_small::<1, true>(I8M);
        check_small::<2, false>(I8H);
        check::<1, false>(I8);
        check::<1, true>(I8M);
        check::<2, false>(I8H);
        check::<2, true>(I8HM);
    }

    #[test]
    fn all_ways_to_add_give_the_same_bits() {
        check_sums::<1, false, 12>(I8);
        check_sums::<1, true, 12>(I8M);
        check_sums::<2, false, 4>(I8H);
        check_sums::<2, true, 12>(I8HM);
    }
}
