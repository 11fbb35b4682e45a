//! Dot products of nibbles that number a table of 16 integers (w = s table[n]) with quantised
//! activations. Rows lie as those of Q4, with f32 scales.
//!
//! The numbers of a table reach from -127 to 113, and the dot product of bytes is one of i8 and of 7
//! bits. Where the CPU's is of i8 and whole bytes nevertheless (`byte_dot`), weights are looked up
//! and multiplied. Elsewhere a table is taken apart: table[n] = step (n - 8) + rest[n], where rests
//! are small, so that both products of a block, at most 16 x 127 x 16 = 32512, are summed in i16 as
//! Q4's are. Of tables of small numbers, whose step is 0, the rests are all. The integer part is
//! exact either way, and so the results are the same.

use crate::coefficients::{add4, broadcast, quantise};
use crate::layout::activation::{self, BYTES, OFFSETS, SCALES};
use crate::layout::{
    group_bytes, nibble_bytes, BLOCK, FP4, GROUP, HALF, IQ1, IQ2, IQ3, IQ3S, IQ4, NIBBLES,
};
use crate::matmul::Rows;
use crate::q4::for_nibbles;
use crate::simd::*;

/// 16 integers.
pub struct Table {
    pub values: [i8; 16],
    step: i16,
    /// 16 more than the rests: bytes of 5 bits.
    rests: [u8; 16],
    /// The number of each value, by its bits.
    codes: [u8; 256],
}

impl Table {
    const fn new(step: i16, values: [i8; 16]) -> Table {
        let mut table = Table { values, step, rests: [0; 16], codes: [0; 256] };
        let mut n = 16;
        while n > 0 {
            n -= 1;
            let rest = values[n] as i16 - step * (n as i16 - 8);
            assert!(rest >= -16 && rest <= 16);
            table.rests[n] = (rest + 16) as u8;
            table.codes[values[n] as u8 as usize] = n as u8;
        }
        table
    }

    /// The table of a kind.
    pub fn of(kind: u32) -> &'static Table {
        &TABLES[(kind - IQ4) as usize]
    }

    /// The number of a value of the table; any for others, which padding has.
    pub fn code(&self, value: i8) -> u8 {
        self.codes[usize::from(value as u8)]
    }
}

static TABLES: [Table; (IQ1 - IQ4 + 1) as usize] = {
    const NONE: Table = Table::new(0, [0; 16]);
    let mut tables = [NONE; (IQ1 - IQ4 + 1) as usize];
    tables[0] =
        Table::new(16, [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]);
    // E2M1, times 2.
    tables[(FP4 - IQ4) as usize] =
        Table::new(0, [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]);
    tables[(IQ3 - IQ4) as usize] =
        Table::new(8, [-62, -52, -44, -36, -28, -20, -12, -4, 4, 12, 20, 28, 36, 44, 52, 62]);
    tables[(IQ3S - IQ4) as usize] =
        Table::new(0, [-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15]);
    // Of the numbers of IQ2 there are six, of IQ1 too: they are where the rests are small.
    tables[(IQ2 - IQ4) as usize] =
        Table::new(16, [-128, -112, -96, -80, -64, -43, -25, -8, 8, 25, 43, 48, 64, 80, 96, 112]);
    tables[(IQ1 - IQ4) as usize] =
        Table::new(0, [-9, -7, -1, 1, 7, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    tables
};

/// How products are summed: of whole weights in i32; of rests in i16; of rests and of numbers.
const WHOLE: u8 = 0;
const RESTS: u8 = 1;
const PARTS: u8 = 2;

/// Rows of the kinds that have a table.
#[derive(Clone, Copy)]
pub struct Numbers(&'static Table);

const GROUP_BYTES: usize = group_bytes(IQ4);

/// What a loop keeps in registers.
#[derive(Clone, Copy)]
struct Constants {
    /// 15 in each byte.
    mask: v128,
    /// The table, or its rests.
    table: v128,
    /// By what sums of the nibbles are multiplied; by what the offsets are where weights are whole.
    step: v128,
    ones: v128,
}

impl Numbers {
    pub fn of(kind: u32) -> Numbers {
        Numbers(Table::of(kind))
    }

    /// The sums of the products of a group, or of half of one, where `left` bytes of nibbles are left.
    ///
    /// # Safety
    /// As for `Rows::dot`, of one group.
    #[inline(always)]
    unsafe fn sum_products<const R: usize, const T: usize, const SUMS: u8>(
        rows: &[*const u8; R],
        tokens: &[*const u8; T],
        left: usize,
        Constants { mask, table, step, ones }: Constants,
    ) -> [[v128; T]; R] {
        let mut dots = [[zero(); T]; R];
        let mut rests = [[zero(); T]; R];
        for t in 0..T {
            let offsets = load(tokens[t].add(OFFSETS));
            let first = if SUMS == WHOLE { i32x4_dot_i16x8(offsets, step) } else { offsets };
            let twice = i16x8_add(offsets, offsets);
            for r in 0..R {
                (dots[r][t], rests[r][t]) = (first, twice);
            }
        }
        let mut take = |j: usize| {
            let mut x = [[zero(); 2]; T];
            for t in 0..T {
                x[t] = [load(tokens[t].add(BYTES + j)), load(tokens[t].add(BYTES + 64 + j))];
            }
            for r in 0..R {
                let both = masked_nibbles(load(rows[r].add(j)), mask);
                for half in [0, 1] {
                    let found = lookup(table, both[half]);
                    for t in 0..T {
                        let x = x[t][half];
                        if SUMS == WHOLE {
                            dots[r][t] = dot_i7_i32(x, found, dots[r][t]);
                        } else {
                            rests[r][t] = i16x8_add(rests[r][t], dot_i7(x, found));
                        }
                        if SUMS == PARTS {
                            dots[r][t] = i16x8_add(dots[r][t], dot_i7(x, both[half]));
                        }
                    }
                }
            }
        };
        for_nibbles::<R>(left, &mut take);
        let mut sums = dots;
        for r in 0..R {
            for t in 0..T {
                let rest = i32x4_dot_i16x8(rests[r][t], ones);
                sums[r][t] = match SUMS {
                    WHOLE => dots[r][t],
                    RESTS => rest,
                    _ => i32x4_add(i32x4_dot_i16x8(dots[r][t], step), rest),
                };
            }
        }
        sums
    }

    /// Adds the products of a group, or of half of one, of which `left` bytes of nibbles are left.
    ///
    /// # Safety
    /// As for `Rows::dot`, of one group.
    #[inline(always)]
    unsafe fn add_products<const R: usize, const T: usize, const SUMS: u8>(
        rows: &[*const u8; R],
        tokens: &[*const u8; T],
        left: usize,
        constants: Constants,
        out: &mut [[v128; T]; R],
    ) {
        let sums = Self::sum_products::<R, T, SUMS>(rows, tokens, left, constants);
        for r in 0..R {
            let is_half = left < NIBBLES;
            let scales =
                if is_half { scales_of::<true>(rows[r]) } else { scales_of::<false>(rows[r]) };
            for t in 0..T {
                let scale = f32x4_mul(scales, load(tokens[t].add(SCALES)));
                out[r][t] = madd(f32x4_convert_i32x4(sums[r][t]), scale, out[r][t]);
            }
        }
    }

    /// # Safety
    /// As for `Rows::dot`.
    #[inline(always)]
    unsafe fn dot_rows<const R: usize, const T: usize, const SUMS: u8>(
        mut rows: [*const u8; R],
        k: usize,
        mut tokens: [*const u8; T],
        constants: Constants,
    ) -> [[f32; T]; R] {
        let mut out = [[zero(); T]; R];
        let mut left = opaque(nibble_bytes(k));
        while left > 0 {
            Self::add_products::<R, T, SUMS>(&rows, &tokens, left, constants, &mut out);
            for row in &mut rows {
                *row = row.wrapping_add(GROUP_BYTES);
            }
            for token in &mut tokens {
                *token = token.wrapping_add(activation::GROUP_BYTES);
            }
            left -= left.min(NIBBLES);
        }
        out.map(|row| row.map(sum_f32))
    }

    /// As `add`, of a group or of half of one.
    ///
    /// # Safety
    /// As for `Rows::add`, where the group is whole, or half.
    #[inline(always)]
    unsafe fn add_group<const IS_HALF: bool, const N: usize>(
        self,
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        out: *mut f32,
    ) {
        let c = core::array::from_fn(|r| {
            f32x4_mul(f32x4_splat(h[r]), scales_of::<IS_HALF>(rows[r].add(offset)))
        });
        let coefficients = quantise::<127, N>(&c);
        let pairs = coefficients.bytes();
        // Of blocks 0 and 1, then of 2 and 3.
        let mut offsets = coefficients.offsets();
        if IS_HALF {
            offsets[1] = offsets[0];
        }
        let scales = broadcast(coefficients.scale);
        let table = self.0;
        let mask = opaque(i8x16_splat(15));
        let rest_table = opaque(load(table.rests.as_ptr()));
        // Pairs of a sum of nibbles and one of rests.
        let step = opaque(i32x4_splat(1 << 16 | i32::from(table.step)));
        for j in 0..if IS_HALF { 2 } else { 4 } {
            let at = offset + 16 * j;
            let mut lines = offsets.map(|offset| [offset; 2]);
            let mut rests = offsets.map(|offset| [i16x8_add(offset, offset); 2]);
            for p in 0..N / 2 {
                let first = load(rows[2 * p].add(at));
                let second = load(rows[2 * p + 1].add(at));
                let sides =
                    [i8x16_interleave_low(first, second), i8x16_interleave_high(first, second)];
                for side in 0..2 {
                    let c = pairs[p][if IS_HALF { 0 } else { side }];
                    let both = masked_nibbles(sides[side], mask);
                    for half in 0..2 {
                        let (line, rest) = (&mut lines[side][half], &mut rests[side][half]);
                        *line = i16x8_add(*line, dot_i7(c, both[half]));
                        *rest = i16x8_add(*rest, dot_i7(c, lookup(rest_table, both[half])));
                    }
                }
            }
            for side in 0..2 {
                let (block, quad) = if IS_HALF { (0, 2 * j + side) } else { (2 * side, j) };
                for half in 0..2 {
                    let (line, rest) = (lines[side][half], rests[side][half]);
                    let sum = |pairs| f32x4_convert_i32x4(i32x4_dot_i16x8(pairs, step));
                    let low = sum(i16x8_interleave_low(line, rest));
                    let high = sum(i16x8_interleave_high(line, rest));
                    let out = out.add(BLOCK * block + 16 * half + 4 * quad);
                    add4::<false>(out, scales[block], low, zero());
                    add4::<false>(out.add(BLOCK), scales[block + 1], high, zero());
                }
            }
        }
    }
}

/// The scales of a group's blocks by lane.
///
/// # Safety
/// `group` is a packed one, whole or half.
#[inline(always)]
unsafe fn scales_of<const IS_HALF: bool>(group: *const u8) -> v128 {
    if IS_HALF {
        load8_twice(group.add(NIBBLES / 2))
    } else {
        load(group.add(NIBBLES))
    }
}

impl Rows for Numbers {
    #[inline(always)]
    unsafe fn dot<const R: usize, const T: usize>(
        self,
        rows: [*const u8; R],
        k: usize,
        tokens: [*const u8; T],
    ) -> [[f32; T]; R] {
        let table = self.0;
        let mask = opaque(i8x16_splat(15));
        let ones = opaque(i16x8_splat(1));
        if let Some(bytes) = byte_dot() {
            let values = load(table.values.as_ptr());
            // Bytes without a sign are 128 above the weights: offsets are -8 times what they add.
            let (flip, step) = match bytes {
                ByteDot::Signed => (0, 0),
                ByteDot::Unsigned => (-128, 16),
            };
            let table = opaque(v128_xor(values, i8x16_splat(flip)));
            let constants = Constants { mask, table, step: opaque(i16x8_splat(step)), ones };
            return Self::dot_rows::<R, T, WHOLE>(rows, k, tokens, constants);
        }
        let step = opaque(i16x8_splat(table.step));
        let constants = Constants { mask, table: opaque(load(table.rests.as_ptr())), step, ones };
        if table.step == 0 {
            return Self::dot_rows::<R, T, RESTS>(rows, k, tokens, constants);
        }
        if R == 4 && T > 1 {
            // Two sums for each row and token: two rows leave registers for them.
            let mut out = [[0.0; T]; R];
            for (rows, out) in rows.chunks_exact(2).zip(out.chunks_exact_mut(2)) {
                let rows = [rows[0], rows[1]];
                let dots = Self::dot_rows::<2, T, PARTS>(rows, k, tokens, constants);
                out.copy_from_slice(&dots);
            }
            return out;
        }
        Self::dot_rows::<R, T, PARTS>(rows, k, tokens, constants)
    }

    fn column_bytes(column: usize) -> usize {
        column / GROUP * GROUP_BYTES
    }

    /// Pairs of rows side by side are multiplied as bytes: i16 holds the sums of a dozen rows of 16
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
        if width > HALF {
            self.add_group::<false, N>(rows, offset, h, out);
        } else {
            self.add_group::<true, N>(rows, offset, h, out);
        }
    }
}
