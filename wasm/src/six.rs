//! Rows of integers of 6 bits: K5, K6 and I6.
//!
//! 32 more than they are, integers have no sign, and four of them lie in three bytes: each has one in
//! its lower bits, and above it two bits of the fourth. One token, which waits for memory, takes them
//! apart as it goes. Elsewhere groups are unpacked to bytes first, for which kernels are in i8.rs:
//! scales and mins are the same numbers there, and so results have the same bits.

use crate::f16::{widen, HALF_BIAS};
use crate::i8::{add_fours, Bytes};
use crate::layout::activation::{self, BYTES as ACTIVATIONS, SCALES, SUMS};
use crate::layout::{group_bytes, BYTES, GROUP, I6, I8, I8H, I8M, K5, K6, SEXTETS};
use crate::matmul::{Matrix, Rows, Tokens};
use crate::q4::k_scales;
use crate::simd::*;
use crate::unpacked::multiply_unpacked;

/// Tokens for which rows are unpacked first. On a Zen 5 that takes as long as it saves with a dozen.
const UNPACKED: usize = 12;

/// Rows of one of the kinds; `HALVES` and `MIN` as of `Bytes`.
#[derive(Clone, Copy)]
pub struct Sextets<const KIND: u32, const HALVES: usize, const MIN: bool>;

/// The kind of bytes that has the scales and mins of a kind, in the order of its own.
pub const fn bytes_kind(kind: u32) -> u32 {
    match kind {
        K6 => I8H,
        I6 => I8,
        _ => I8M,
    }
}

/// Bytes of a group before its weights: scales and mins.
pub const fn head_bytes(kind: u32) -> usize {
    group_bytes(kind) - SEXTETS
}

/// Vectors of integers of 6 bits, four in three.
#[inline(always)]
pub fn pack_four([a, b, c, d]: [v128; 4]) -> [v128; 3] {
    let pair = |shift: u32| v128_and(i16x8_shl(d, shift), i8x16_splat(0xc0_u8 as i8));
    [v128_or(a, pair(2)), v128_or(b, pair(4)), v128_or(c, pair(6))]
}

/// The four vectors; `mask` is 63 in each byte.
#[inline(always)]
fn unpack_four(packed: [v128; 3], mask: v128) -> [v128; 4] {
    let [a, b, c] = packed.map(|x| v128_and(x, mask));
    let [x, y, z] = packed.map(|x| v128_andnot(x, mask));
    let d = v128_or(v128_or(x, u16x8_shr(y, 2)), u16x8_shr(z, 4));
    [a, b, c, u16x8_shr(d, 2)]
}

impl<const KIND: u32, const HALVES: usize, const MIN: bool> Sextets<KIND, HALVES, MIN> {
    const GROUP_BYTES: usize = group_bytes(KIND);
    const HEAD: usize = head_bytes(KIND);

    /// The scales by lane, of blocks or of their halves, and the mins. `bias` is `HALF_BIAS`.
    ///
    /// # Safety
    /// `group` is a packed one of the kind.
    #[inline(always)]
    unsafe fn scales(group: *const u8, bias: v128) -> ([v128; HALVES], v128) {
        let head = load(group);
        let [first, second, min] = match KIND {
            K5 => {
                let [scale, min] = k_scales(head);
                [scale, scale, min]
            }
            K6 => {
                let codes = i16x8_extend_low_i8x16(head);
                let unit = i32x4_shuffle::<2, 2, 2, 2>(head, head);
                let scale = |codes| f32x4_mul(f32x4_convert_i32x4(codes), unit);
                let first = scale(i32x4_extend_low_i16x8(codes));
                [first, scale(i32x4_extend_high_i16x8(codes)), unit]
            }
            _ => [widen(i32x4_extend_low_i16x8(head), bias); 3],
        };
        (core::array::from_fn(|half| if half == 0 { first } else { second }), min)
    }

    /// Half the weights of each block of a group, 32 more than they are, as a group of bytes has
    /// them. `mask` is 63 in each byte.
    ///
    /// # Safety
    /// `group` is a packed one of the kind.
    #[inline(always)]
    unsafe fn weights(group: *const u8, half: usize, mask: v128) -> [v128; 4] {
        let at = group.add(Self::HEAD + half * (SEXTETS / 2));
        unpack_four([0, 16, 32].map(|i| load(at.add(i))), mask)
    }

    /// Adds the products of a group; `FOURS` as `i8::FOURS`.
    ///
    /// # Safety
    /// As for `Rows::dot`, of one group.
    #[inline(always)]
    unsafe fn add_products<const R: usize, const T: usize, const FOURS: bool>(
        rows: &[*const u8; R],
        tokens: &[*const u8; T],
        halves: usize,
        [mask, bias, ones]: [v128; 3],
        out: &mut [[v128; T]; R],
    ) {
        let mut dots = [[[zero(); T]; R]; HALVES];
        for h in 0..HALVES {
            for t in 0..T {
                let offsets = Bytes::<HALVES, MIN, 6>::offsets(tokens[t], h);
                for r in 0..R {
                    dots[h][r][t] = offsets;
                }
            }
        }
        for half in 0..2 {
            // The second half may not come, as far as the compiler knows (see q4.rs).
            if half == halves {
                break;
            }
            let dots = &mut dots[half % HALVES];
            let mut x = [[zero(); 4]; T];
            for t in 0..T {
                let at = tokens[t].add(ACTIVATIONS + half * (BYTES / 2));
                x[t] = [0, 16, 32, 48].map(|i| load(at.add(i)));
            }
            for r in 0..R {
                let w = Self::weights(rows[r], half, mask);
                for t in 0..T {
                    for i in (0..4).step_by(2) {
                        let (x, w) = ([x[t][i], x[t][i + 1]], [w[i], w[i + 1]]);
                        dots[r][t] = if FOURS {
                            add_fours(x, w, dots[r][t], ones)
                        } else {
                            dot_i7_i32(x[1], w[1], dot_i7_i32(x[0], w[0], dots[r][t]))
                        };
                    }
                }
            }
        }
        let mut x = [[zero(); 2]; T];
        for t in 0..T {
            x[t] = [SCALES, SUMS].map(|at| load(tokens[t].add(at)));
        }
        for r in 0..R {
            let (scales, min) = Self::scales(rows[r], bias);
            for t in 0..T {
                let [x_scale, x_sum] = x[t];
                for h in 0..HALVES {
                    let scale = f32x4_mul(scales[h], x_scale);
                    out[r][t] = madd(f32x4_convert_i32x4(dots[h][r][t]), scale, out[r][t]);
                }
                if MIN {
                    out[r][t] = madd(min, x_sum, out[r][t]);
                }
            }
        }
    }

    /// Unpacks a group to one of bytes, 32 more than the weights are.
    ///
    /// # Safety
    /// `group` is a packed one of the kind, `out` has room for one of `bytes_kind`.
    #[inline(always)]
    unsafe fn unpack_group(group: *const u8, out: *mut u8, [mask, bias]: [v128; 2]) {
        for half in 0..2 {
            for (i, bytes) in Self::weights(group, half, mask).into_iter().enumerate() {
                store(out.add(half * (BYTES / 2) + 16 * i), bytes);
            }
        }
        let out = out.add(BYTES);
        if KIND == I6 {
            out.copy_from_nonoverlapping(group, Self::HEAD);
            return;
        }
        let (scales, min) = Self::scales(group, bias);
        for (half, scales) in scales.into_iter().enumerate() {
            store(out.add(16 * half), scales);
        }
        if MIN {
            store(out.add(16 * HALVES), min);
        }
    }

    fn constants() -> [v128; 2] {
        [i8x16_splat(63), i32x4_splat(HALF_BIAS)].map(opaque)
    }

    /// # Safety
    /// As for `Rows::dot`.
    #[inline(always)]
    unsafe fn dot_rows<const R: usize, const T: usize, const FOURS: bool>(
        mut rows: [*const u8; R],
        k: usize,
        mut tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let [mask, bias] = Self::constants();
        let constants = [mask, bias, opaque(i16x8_splat(1))];
        let halves = opaque(2);
        let mut out = [[zero(); T]; R];
        for _ in 0..opaque(k / GROUP) {
            Self::add_products::<R, T, FOURS>(&rows, &tokens, halves, constants, &mut out);
            for row in &mut rows {
                *row = row.wrapping_add(Self::GROUP_BYTES);
            }
            for token in &mut tokens {
                *token = token.wrapping_add(activation::GROUP_BYTES);
            }
        }
        out.map(|row| row.map(sum_f32))
    }
}

impl<const KIND: u32, const HALVES: usize, const MIN: bool> Rows for Sextets<KIND, HALVES, MIN> {
    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        self,
        rows: [*const u8; R],
        k: usize,
        tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        if byte_dot().is_some() {
            Self::dot_rows::<R, T, false>(rows, k, tokens)
        } else {
            Self::dot_rows::<R, T, true>(rows, k, tokens)
        }
    }

    unsafe fn multiply_unpacked(self, matrix: &Matrix, tokens: &Tokens, n_tokens: usize) -> bool {
        let constants = Self::constants();
        let unpack = |from, to| Self::unpack_group(from, to, constants);
        let kernel = Bytes::<HALVES, MIN, 6>;
        let kinds = [KIND, bytes_kind(KIND)];
        n_tokens >= UNPACKED && multiply_unpacked(kernel, kinds, unpack, matrix, tokens, n_tokens)
    }

    fn column_bytes(column: usize) -> usize {
        column / GROUP * Self::GROUP_BYTES
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
        let mut groups = [[0u8; group_bytes(I8H)]; N];
        let constants = Self::constants();
        for (row, group) in rows.iter().zip(&mut groups) {
            Self::unpack_group(row.add(offset), group.as_mut_ptr(), constants);
        }
        let groups = core::array::from_fn(|r| groups[r].as_ptr());
        Bytes::<HALVES, MIN, 6>.add(&groups, 0, h, width, out);
    }
}

/// Unpacks a group of any of the kinds to one of `bytes_kind`.
///
/// # Safety
/// `group` is a packed one of the kind, `out` has room for the other.
pub unsafe fn to_bytes(kind: u32, group: *const u8, out: *mut u8) {
    match kind {
        K5 => unpack::<K5, 1, true>(group, out),
        K6 => unpack::<K6, 2, false>(group, out),
        _ => unpack::<I6, 1, false>(group, out),
    }
}

/// # Safety
/// As for `to_bytes`.
#[inline(always)]
unsafe fn unpack<const KIND: u32, const HALVES: usize, const MIN: bool>(
    group: *const u8,
    out: *mut u8,
) {
    let constants = Sextets::<KIND, HALVES, MIN>::constants();
    Sextets::<KIND, HALVES, MIN>::unpack_group(group, out, constants);
    for i in (0..BYTES).step_by(16) {
        store(out.add(i), i8x16_add(load(out.add(i)), i8x16_splat(96)));
    }
}
