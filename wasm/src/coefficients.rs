//! Coefficients of rows that are added up, as integers.
//!
//! A row adds h * (scale * q + min) to each column; c = h * scale is its coefficient, one for each
//! block. The coefficients of a dozen rows are quantised together, block by block: as a block of
//! activations is for a product, so that adding rows up is no less exact.

use crate::simd::*;

/// Rows that are added up in integers before they become floats. On Zen 4, 12 read 6.2 GB/s, 8 and
/// 16 5.5.
pub const ROWS: usize = 12;

/// Integers of the rows for the four blocks of a column group: c = scale * integer.
pub struct Coefficients<const N: usize> {
    /// 4 i32 by block, of each row.
    pub integers: [v128; N],
    /// 4 f32, by block.
    pub scale: v128,
    /// 4 i32, by block: the sum of the integers.
    pub sum: v128,
}

/// Adding it to a number below 2^22 leaves that number, rounded to the nearest integer, in the
/// sum's low bits.
pub const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// Quantises the coefficients `c[row]`, 4 f32 by block, to integers of magnitude `MOST`. Their
/// error is at most max over the rows of |c| / (2 * `MOST`). NaN and infinities reach the scale.
#[inline(always)]
pub fn quantise<const MOST: i32, const N: usize>(c: &[v128; N]) -> Coefficients<N> {
    // As integers, which order floats without a sign as the floats do, and NaN above all.
    let mut largest = zero();
    for &c in c {
        largest = i32x4_max(largest, f32x4_abs(c));
    }
    // Below this MOST / largest overflows; rounding such a block to zero is an error below 1e-33.
    let tiny = f32x4_lt(largest, f32x4_splat(1e-33));
    let inverse = f32x4_div(f32x4_splat(MOST as f32), largest);
    let inverse = v128_bitselect(zero(), inverse, tiny);
    let mut sum = zero();
    let integers = c.map(|c| {
        let rounded = madd(c, inverse, f32x4_splat(ROUND));
        let integer = i32x4_sub(rounded, i32x4_splat(ROUND.to_bits() as i32));
        sum = i32x4_add(sum, integer);
        integer
    });
    let scale = f32x4_mul(largest, f32x4_splat(1.0 / MOST as f32));
    Coefficients { integers, scale, sum }
}

impl<const N: usize> Coefficients<N> {
    /// Pairs of rows as i16, repeated for every column of a block. The first `N` / 2 count.
    #[inline(always)]
    pub fn words(&self) -> [[v128; 4]; ROWS / 2] {
        self.pairs(|first, second| broadcast(side_by_side(first, second)))
    }

    #[inline(always)]
    fn pairs<const M: usize>(&self, f: impl Fn(v128, v128) -> [v128; M]) -> [[v128; M]; ROWS / 2] {
        core::array::from_fn(|p| {
            if 2 * p < N {
                f(self.integers[2 * p], self.integers[2 * p + 1])
            } else {
                [zero(); M]
            }
        })
    }

    /// Rows `first` to `first` + 3 as i8, a word by block; zero where there are no such rows.
    #[inline(always)]
    pub fn four(&self, first: usize) -> v128 {
        if first >= N {
            return zero();
        }
        let [a, b, c, d] = [0, 1, 2, 3].map(|r| self.integers[first + r]);
        let byte = i32x4_splat(0xff);
        let low = v128_or(v128_and(a, byte), i32x4_shl(v128_and(b, byte), 8));
        let high = v128_or(v128_and(c, byte), i32x4_shl(d, 8));
        v128_or(low, i32x4_shl(high, 16))
    }

    /// Integers of up to 14 bits as 128 times the first ones plus the second ones, all of which are
    /// i8.
    #[inline(always)]
    pub fn sevens(&self) -> [Coefficients<N>; 2] {
        let high = self.integers.map(|c| i32x4_shr(i32x4_add(c, i32x4_splat(64)), 7));
        let low = core::array::from_fn(|r| i32x4_sub(self.integers[r], i32x4_shl(high[r], 7)));
        [high, low].map(|integers| Coefficients { integers, ..*self })
    }

    /// -8 times the sum as i16, repeated for every column of a block: for blocks 0 and 1, and for
    /// blocks 2 and 3.
    #[inline(always)]
    pub fn offsets(&self) -> [v128; 2] {
        let offset = i32x4_sub(zero(), i32x4_shl(self.sum, 3));
        spread(side_by_side(offset, offset))
    }

    /// Pairs of rows as i8, repeated for every column of a block: for blocks 0 and 1, and for blocks
    /// 2 and 3. The first `N` / 2 count.
    #[inline(always)]
    pub fn bytes(&self) -> [[v128; 2]; ROWS / 2] {
        self.pairs(|first, second| {
            let bytes = v128_bitselect(first, i32x4_shl(second, 8), i32x4_splat(0xff));
            spread(side_by_side(bytes, bytes))
        })
    }
}

/// The lower halves of both words in one.
#[inline(always)]
pub fn side_by_side(first: v128, second: v128) -> v128 {
    v128_bitselect(first, i32x4_shl(second, 16), i32x4_splat(0xffff))
}

/// Word L twice: words 0 and 1, words 2 and 3.
#[inline(always)]
fn spread(words: v128) -> [v128; 2] {
    [i32x4_shuffle::<0, 0, 1, 1>(words, words), i32x4_shuffle::<2, 2, 3, 3>(words, words)]
}

/// out[0..4] += a * x, and `b` where there is a minimum.
///
/// # Safety
/// `out` has 4 floats.
#[inline(always)]
pub unsafe fn add4<const MIN: bool>(out: *mut f32, a: v128, x: v128, b: v128) {
    let sum = madd(a, x, load(out));
    store(out, if MIN { f32x4_add(sum, b) } else { sum });
}

/// Lane L in all four lanes.
#[inline(always)]
pub fn broadcast(a: v128) -> [v128; 4] {
    [
        i32x4_shuffle::<0, 0, 0, 0>(a, a),
        i32x4_shuffle::<1, 1, 1, 1>(a, a),
        i32x4_shuffle::<2, 2, 2, 2>(a, a),
        i32x4_shuffle::<3, 3, 3, 3>(a, a),
    ]
}
