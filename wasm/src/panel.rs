//! Products of a tile of up to four rows, queries or weights, with the panels of a page (see
//! `kv.rs`).
//!
//! Lane L of a coefficient vector belongs to row L, so that one load brings a step's coefficients
//! of all rows; a step meets 8 columns at once.

use core::ops::Range;

use crate::coefficients::{broadcast, ROUND};
use crate::f16::widen_positive;
use crate::kv::*;
use crate::simd::*;

/// Rows of a tile.
pub const TILE: usize = 4;

/// What differs between the types of the cache.
pub trait Cache {
    const TYPE: u32;

    /// Makes coefficients of a tile's queries, in place: `[d]` vectors of f32, zeros up to a
    /// multiple of 32. Returns what the scores have to be multiplied by, by row.
    ///
    /// # Safety
    /// `queries` has `d` vectors, rounded up to a multiple of 32.
    unsafe fn prepare(_queries: *mut v128, _d: usize) -> v128 {
        f32x4_splat(1.0)
    }

    /// scores[p] = q . K[p] by row, for the positions of the panels.
    ///
    /// # Safety
    /// `queries` are prepared; `keys` is the side of a page with heads of `d` elements.
    unsafe fn scores<const R: usize>(
        queries: *const v128,
        keys: *const u8,
        d: usize,
        panels: Range<usize>,
        scores: &mut [v128; PAGE],
    );

    /// out = shrink * out + sum over the slots of weights[p] V[p]; `out` is `[panel][R rows][8
    /// columns]`. Weights of the other positions in the slots' panels are zero.
    ///
    /// # Safety
    /// `values` is the side of a page with heads of `d` elements; `out` is as long as a row of all.
    unsafe fn add_values<const R: usize>(
        weights: &[v128; PAGE],
        values: *const u8,
        d: usize,
        slots: Range<usize>,
        shrink: v128,
        out: *mut v128,
    );
}

/// Eight columns of each row.
type Sums<const R: usize> = [[v128; 2]; R];

/// f32.
pub struct Floats;

impl Floats {
    const STEP_BYTES: usize = 4 * PANEL;

    /// sum over the steps of coefficients[step][row] * panel[step].
    ///
    /// # Safety
    /// `coefficients` has a vector for each step, `panel` as many steps.
    #[inline(always)]
    unsafe fn product<const R: usize>(
        coefficients: *const v128,
        panel: *const u8,
        steps: usize,
    ) -> Sums<R> {
        let mut sums = [[zero(); 2]; R];
        each_step(coefficients, panel, Self::STEP_BYTES, steps, R < TILE, |rows, at| {
            let columns = [load(at), load(at.add(16))];
            for r in 0..R {
                for half in 0..2 {
                    sums[r][half] = madd(rows[r], columns[half], sums[r][half]);
                }
            }
        });
        sums
    }
}

impl Cache for Floats {
    const TYPE: u32 = F32;

    unsafe fn scores<const R: usize>(
        queries: *const v128,
        keys: *const u8,
        d: usize,
        panels: Range<usize>,
        scores: &mut [v128; PAGE],
    ) {
        for panel in panels {
            let first = panel * d.next_multiple_of(PANEL) * Self::STEP_BYTES;
            put_scores(Self::product::<R>(queries, keys.add(first), d), panel, scores);
        }
    }

    unsafe fn add_values<const R: usize>(
        weights: &[v128; PAGE],
        values: *const u8,
        d: usize,
        slots: Range<usize>,
        shrink: v128,
        out: *mut v128,
    ) {
        let shrink = broadcast(shrink);
        let coefficients = weights[slots.clone()].as_ptr();
        for panel in 0..d.div_ceil(PANEL) {
            let at = values.add((panel * PAGE + slots.start) * Self::STEP_BYTES);
            let sums = Self::product::<R>(coefficients, at, slots.len());
            add_panel(sums, shrink, out.add(2 * R * panel));
        }
    }
}

/// f16: 16-bit integers. So are queries, and weights times the positions' scales, with a scale for
/// each row. No part of a sum passes 2^30, so it is exact: keys and rows of queries have Euclidean
/// norms of 32767 (Cauchy and Schwarz), rows of weights a sum of 32767, values magnitudes of at
/// most that. A score is off by 1.3e-5 of the norms' product (root mean square), as with halves on
/// both sides for a head of 128.
pub struct Words;

impl Cache for Words {
    const TYPE: u32 = F16;

    unsafe fn prepare(queries: *mut v128, d: usize) -> v128 {
        let n = d.next_multiple_of(BLOCK);
        let mut squares = zero();
        for i in 0..n {
            let q = load(queries.add(i));
            squares = madd(q, q, squares);
        }
        round(queries, f32x4_sqrt(squares), n / 2, queries)
    }

    unsafe fn scores<const R: usize>(
        queries: *const v128,
        keys: *const u8,
        d: usize,
        panels: Range<usize>,
        scores: &mut [v128; PAGE],
    ) {
        let pairs = d.next_multiple_of(PANEL) / 2;
        for panel in panels {
            let at = keys.add(WORD_SCALES + 4 * PANEL * pairs * panel);
            let dots = dots::<R, 2>(queries, at, d.div_ceil(2));
            let scales = [0, 4].map(|half| word_scales(keys.add(2 * (PANEL * panel + half))));
            let sums = dots.map(|row| {
                core::array::from_fn(|half| f32x4_mul(f32x4_convert_i32x4(row[half]), scales[half]))
            });
            put_scores(sums, panel, scores);
        }
    }

    unsafe fn add_values<const R: usize>(
        weights: &[v128; PAGE],
        values: *const u8,
        d: usize,
        slots: Range<usize>,
        shrink: v128,
        out: *mut v128,
    ) {
        let panels = slots.start / PANEL..slots.end.div_ceil(PANEL);
        let (first, n) = (PANEL * panels.start, PANEL * panels.len());
        let mut coefficients = [zero(); PAGE];
        let mut sum = zero();
        for four in (first..first + n).step_by(4) {
            let scales = broadcast(word_scales(values.add(2 * four)));
            for i in 0..4 {
                let c = f32x4_mul(weights[four + i], scales[i]);
                sum = f32x4_add(sum, c);
                coefficients[four + i] = c;
            }
        }
        let coefficients = coefficients.as_mut_ptr().add(first);
        let scales = broadcast(round(coefficients, sum, n / 2, coefficients));
        let shrink = broadcast(shrink);
        for panel in 0..d.div_ceil(PANEL) {
            let at = values.add(WORD_SCALES + 2 * PANEL * (panel * PAGE + first));
            let dots = dots::<R, 2>(coefficients, at, n / 2);
            let sums = core::array::from_fn(|r| {
                dots[r].map(|dot| f32x4_mul(f32x4_convert_i32x4(dot), scales[r]))
            });
            add_panel::<R>(sums, shrink, out.add(2 * R * panel));
        }
    }
}

/// Integers: queries, and weights times the values' scales, are rounded to i16 with a scale for
/// each row, amax / 32767, so that each is off by at most amax / 65534. Sums of a block are exact:
/// 32 * 127 * 32767 fits an i32.
pub struct Q8_0;

impl Q8_0 {
    /// Coefficients of a block of values: weights times the positions' scales. Returns the
    /// coefficients' scales.
    ///
    /// # Safety
    /// `scales` has a half for each position of the panels.
    #[inline(always)]
    unsafe fn scaled_weights(
        weights: &[v128; PAGE],
        scales: *const u16,
        panels: Range<usize>,
        coefficients: &mut [v128; PAGE],
    ) -> v128 {
        let mut largest = zero();
        for first in (PANEL * panels.start..PANEL * panels.end).step_by(4) {
            let halves = i32x4_load_extend_i16x4(scales.add(first).cast());
            let scales = broadcast(widen_positive(halves));
            for i in 0..4 {
                let c = f32x4_mul(weights[first + i], scales[i]);
                largest = f32x4_pmax(largest, c);
                coefficients[first + i] = c;
            }
        }
        let first = coefficients.as_mut_ptr().add(PANEL * panels.start);
        round(first, largest, PANEL / 2 * panels.len(), first)
    }
}

impl Cache for Q8_0 {
    const TYPE: u32 = Q8;

    unsafe fn prepare(queries: *mut v128, d: usize) -> v128 {
        let n = d.next_multiple_of(BLOCK);
        let mut largest = zero();
        for i in 0..n {
            // Unlike pmax, it keeps NaN, which reaches the scores by the scale.
            largest = f32x4_max(largest, f32x4_abs(load(queries.add(i))));
        }
        round(queries, largest, n / 2, queries)
    }

    unsafe fn scores<const R: usize>(
        queries: *const v128,
        keys: *const u8,
        d: usize,
        panels: Range<usize>,
        scores: &mut [v128; PAGE],
    ) {
        let blocks = d.div_ceil(BLOCK);
        for panel in panels {
            let mut sums = [[zero(); 2]; R];
            for block in 0..blocks {
                let at = keys.add((panel * blocks + block) * KEY_BLOCK_BYTES);
                let query = queries.add(BLOCK / 2 * block);
                let dots = dots::<R, 1>(query, at.add(SCALES), BLOCK / 2);
                let halves = load(at);
                let lower = v128_and(halves, i32x4_splat(0xffff));
                let scales = [lower, u32x4_shr(halves, 16)].map(widen_positive);
                for r in 0..R {
                    for half in 0..2 {
                        let dots = f32x4_convert_i32x4(dots[r][half]);
                        sums[r][half] = madd(dots, scales[half], sums[r][half]);
                    }
                }
            }
            put_scores(sums, panel, scores);
        }
    }

    unsafe fn add_values<const R: usize>(
        weights: &[v128; PAGE],
        values: *const u8,
        d: usize,
        slots: Range<usize>,
        shrink: v128,
        out: *mut v128,
    ) {
        let panels = slots.start / PANEL..slots.end.div_ceil(PANEL);
        let pair = PANEL / 2 * panels.start;
        let shrink = broadcast(shrink);
        let mut coefficients = [zero(); PAGE];
        for first in (0..d).step_by(BLOCK) {
            let block = values.add(first / BLOCK * VALUE_BLOCK_BYTES);
            let scales =
                Self::scaled_weights(weights, block.cast(), panels.clone(), &mut coefficients);
            let scales = broadcast(scales);
            let coefficients = coefficients.as_ptr().add(PANEL * panels.start);
            for panel in 0..(d - first).min(BLOCK).div_ceil(PANEL) {
                let at = block.add(2 * PAGE + panel * PANEL_BYTES + pair * 2 * PANEL);
                let dots = dots::<R, 1>(coefficients, at, PANEL / 2 * panels.len());
                let sums = core::array::from_fn(|r| {
                    dots[r].map(|dot| f32x4_mul(f32x4_convert_i32x4(dot), scales[r]))
                });
                add_panel::<R>(sums, shrink, out.add(2 * R * (first / PANEL + panel)));
            }
        }
    }
}

/// sum over pairs of steps of integers of so many bytes, coefficients[pair][row] and panel[pair]
/// being pairs too: i32.
///
/// # Safety
/// `coefficients` has a vector for each pair of steps, `panel` as many pairs.
#[inline(always)]
unsafe fn dots<const R: usize, const BYTES: usize>(
    coefficients: *const v128,
    panel: *const u8,
    pairs: usize,
) -> Sums<R> {
    let mut sums = [[zero(); 2]; R];
    let spread = R < TILE || BYTES == 1;
    each_step(coefficients, panel, 2 * PANEL * BYTES, pairs, spread, |rows, at| {
        let columns = if BYTES == 2 {
            [load(at), load(at.add(16))]
        } else {
            let bytes = load(at);
            [i16x8_extend_low_i8x16(bytes), i16x8_extend_high_i8x16(bytes)]
        };
        for r in 0..R {
            for half in 0..2 {
                let dots = i32x4_dot_i16x8(rows[r], columns[half]);
                sums[r][half] = i32x4_add(sums[r][half], dots);
            }
        }
    });
    sums
}

/// Calls `add` with each step's coefficients, those of a row in all lanes, and with its place in the
/// panel. Both places are counted up: to make them of a step's number takes three instructions each.
/// Coefficients are `spread` by loads, of which the CPU can do more where rows are few or columns
/// have to be widened, or else by shuffles, which take fewer instructions.
///
/// # Safety
/// `coefficients` has a vector for each step, `panel` `bytes` for each.
#[inline(always)]
unsafe fn each_step(
    mut coefficients: *const v128,
    mut panel: *const u8,
    bytes: usize,
    steps: usize,
    spread: bool,
    mut add: impl FnMut([v128; TILE], *const u8),
) {
    let end = panel.wrapping_add(steps * bytes);
    while panel != end {
        let rows = if spread {
            [0, 1, 2, 3].map(|r| v128_load32_splat(coefficients.cast::<u32>().wrapping_add(r)))
        } else {
            broadcast(load(coefficients))
        };
        add(rows, panel);
        coefficients = coefficients.wrapping_add(1);
        panel = panel.wrapping_add(bytes);
    }
}

/// Rounds `pairs` pairs of steps, by row, to pairs of i16, which may replace them; `size` is what
/// shall become `MOST`, by row. Returns the scales.
///
/// # Safety
/// `from` has `2 * pairs` vectors, `to` has `pairs`.
#[inline(always)]
unsafe fn round(from: *const v128, size: v128, pairs: usize, to: *mut v128) -> v128 {
    let round = f32x4_splat(ROUND);
    let lower = i32x4_splat(0xffff);
    // Below this MOST / size overflows; rounding such a row to zero is an error below 1e-33.
    let tiny = f32x4_lt(size, f32x4_splat(1e-33));
    let inverse = v128_bitselect(zero(), f32x4_div(f32x4_splat(MOST), size), tiny);
    for i in 0..pairs {
        let even = madd(load(from.add(2 * i)), inverse, round);
        let odd = madd(load(from.add(2 * i + 1)), inverse, round);
        store(to.add(i), v128_bitselect(even, i32x4_shl(odd, 16), lower));
    }
    f32x4_mul(size, f32x4_splat(1.0 / MOST))
}

/// The scores of a panel's positions by row.
#[inline(always)]
fn put_scores<const R: usize>(sums: Sums<R>, panel: usize, scores: &mut [v128; PAGE]) {
    for half in 0..2 {
        let mut rows = [zero(); TILE];
        for r in 0..R {
            rows[r] = sums[r][half];
        }
        let first = PANEL * panel + 4 * half;
        scores[first..first + 4].copy_from_slice(&transpose(rows));
    }
}

/// out[row] = shrink * out[row] + sums[row], for the 8 columns of a panel.
///
/// # Safety
/// `out` has `2 * R` vectors.
#[inline(always)]
unsafe fn add_panel<const R: usize>(sums: Sums<R>, shrink: [v128; TILE], out: *mut v128) {
    for r in 0..R {
        for half in 0..2 {
            let out = out.add(2 * r + half);
            store(out, madd(load(out), shrink[r], sums[r][half]));
        }
    }
}
