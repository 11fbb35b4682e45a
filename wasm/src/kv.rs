//! How keys and values lie in a page of the cache: as attention reads them.
//!
//! A page has 32 positions of one KV head: their keys, then their values, of `side_bytes` each.
//! Both consist of panels, products of which are sums over *steps* for 8 *columns* at once: a panel
//! of keys has 8 positions for columns and the head's elements for steps, a panel of values has 8
//! elements for columns and the page's positions for steps.
//!
//! - f32: `[panel][step][8 columns]`.
//! - f16: two bytes an element, as integers, which cost half the instructions of halves. First the
//!   scales of the 32 positions, each the upper half of an f32, then words of two steps side by
//!   side, `[panel][step / 2][8 columns][2]`, as `i32x4_dot_i16x8` sums them. So that sums fit (see
//!   `Words` in `panel.rs`), a key's integers have a Euclidean norm of up to 32767, a value's
//!   magnitudes of up to that: both are off by 2^-16 of it.
//! - q8_0 (ggml's: 32 elements share a scale, an f16): bytes of two steps side by side, as the
//!   words of f16. A block of 32 elements stands together with its scales. Keys: `[panel][block]`,
//!   each the scales of 8 positions, column L beside column L + 4, and 16 pairs of steps. Values:
//!   `[block]`, each the scales of 32 positions and 4 panels.
//!
//! What pads a head to whole panels or blocks is never written, and what it gives is never used.

use crate::f16::{f32_to_f16, half_of};
use crate::norm::sum_of_squares;
use crate::simd::*;

/// Positions of a page.
pub const PAGE: usize = 32;

/// Columns of a panel.
pub const PANEL: usize = 8;

/// Elements of a block of q8_0.
pub const BLOCK: usize = 32;

pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q8: u32 = 2;

/// Bytes of the scales of a page's keys in f16, and of its values.
pub const WORD_SCALES: usize = 2 * PAGE;

/// The largest magnitude of an integer of 16 bits.
pub const MOST: f32 = 32767.0;

/// The largest f32 of which the lower half is zero.
const LARGEST_SCALE: f32 = f32::from_bits(0x7f7f_0000);

/// Bytes of 8 scales.
pub const SCALES: usize = 2 * PANEL;

/// Bytes of a panel of a page's values in q8_0, or of a block of its keys without the scales.
pub const PANEL_BYTES: usize = 32 * PANEL;

/// Bytes of a panel's block of keys in q8_0.
pub const KEY_BLOCK_BYTES: usize = SCALES + PANEL_BYTES;

/// Bytes of a block of values in q8_0.
pub const VALUE_BLOCK_BYTES: usize = 2 * PAGE + BLOCK / PANEL * PANEL_BYTES;

/// Bytes of a page's keys, and of its values.
pub const fn side_bytes(cache_type: u32, head_dim: usize) -> usize {
    match cache_type {
        F32 => head_dim.next_multiple_of(PANEL) * PAGE * 4,
        F16 => WORD_SCALES + head_dim.next_multiple_of(PANEL) * PAGE * 2,
        _ => head_dim.div_ceil(BLOCK) * VALUE_BLOCK_BYTES,
    }
}

/// Stores a key and a value of `head_dim` floats at position `slot` of a page. `cache_type` 0 keeps
/// f32; 1 rounds keys to within 2^-15.98 of their norm, values of their largest magnitude; 2 to
/// q8_0: scale = amax / 127, so that |error| <= amax / 254, but for the scale's own rounding to
/// f16, 2^-11 of it.
///
/// # Safety
/// `key` and `value` have `head_dim` floats, the page has room for twice `side_bytes`, `slot` is
/// below 32.
#[no_mangle]
pub unsafe extern "C" fn kv_store(
    cache_type: u32,
    key: *const f32,
    value: *const f32,
    head_dim: usize,
    page: *mut u8,
    slot: usize,
) {
    let values = page.add(side_bytes(cache_type, head_dim));
    let (panel, column) = (slot / PANEL, slot % PANEL);
    let panel_steps = panel * head_dim.next_multiple_of(PANEL);
    // Of element i of the key, of element j of the value: the step, counted over all panels, and
    // the column.
    let key_at = |i: usize| (panel_steps + i, column);
    let value_at = |j: usize| (j / PANEL * PAGE + slot, j % PANEL);
    match cache_type {
        F32 => {
            store_f32(key, head_dim, page, key_at);
            store_f32(value, head_dim, values, value_at);
        }
        F16 => {
            let most = f64::from(largest_magnitude(value, head_dim));
            store_words(key, head_dim, norm(key, head_dim), page, slot, key_at);
            store_words(value, head_dim, most, values, slot, value_at);
        }
        _ => {
            let keys = page.add(panel * head_dim.div_ceil(BLOCK) * KEY_BLOCK_BYTES);
            for first in (0..head_dim).step_by(BLOCK) {
                let n = BLOCK.min(head_dim - first);
                let block = keys.add(first / BLOCK * KEY_BLOCK_BYTES);
                let scale = block.add(2 * half_of(column));
                store_q8(key.add(first), n, scale, block.add(SCALES), |i| (i, column));
                let block = values.add(first / BLOCK * VALUE_BLOCK_BYTES);
                let scale = block.add(2 * slot);
                store_q8(value.add(first), n, scale, block.add(2 * PAGE), value_at);
            }
        }
    }
}

/// # Safety
/// `from` has `n` floats, and `to` the places that `at` gives.
unsafe fn store_f32(from: *const f32, n: usize, to: *mut u8, at: impl Fn(usize) -> (usize, usize)) {
    for i in 0..n {
        let (step, column) = at(i);
        to.cast::<f32>().add(PANEL * step + column).write(from.add(i).read());
    }
}

/// One position of one side: integers such that `size`, what bounds its elements, becomes 32767 at
/// most.
///
/// # Safety
/// `from` has `n` floats, and `to` the places that `at` gives.
unsafe fn store_words(
    from: *const f32,
    n: usize,
    size: f64,
    to: *mut u8,
    slot: usize,
    at: impl Fn(usize) -> (usize, usize),
) {
    // Rounded up, so that nothing passes 32767.
    let half = ((size / f64::from(MOST)) as f32).min(LARGEST_SCALE).to_bits().div_ceil(1 << 16);
    to.cast::<u16>().add(slot).write(half as u16);
    let scale = f32::from_bits(half << 16);
    // Below this 1 / scale overflows; rounding to zero is an error below 1e-33.
    let inverse = if scale < 1e-37 { 0.0 } else { 1.0 / scale };
    let words = to.add(WORD_SCALES).cast::<i16>();
    let put = |i: usize, word: i16| {
        let (step, column) = at(i);
        words.add(in_pairs(step, column)).write(word);
    };
    let body = n / 8 * 8;
    for i in (0..body).step_by(8) {
        let four = |v: usize| {
            let scaled = f32x4_mul(load(from.add(i + 4 * v)), f32x4_splat(inverse));
            i32x4_trunc_sat_f32x4(f32x4_nearest(scaled))
        };
        let mut eight = [0i16; 8];
        store(eight.as_mut_ptr(), i16x8_narrow_i32x4(four(0), four(1)));
        for (j, word) in eight.into_iter().enumerate() {
            put(i + j, word);
        }
    }
    for i in body..n {
        put(i, (from.add(i).read() * inverse).round_ties_even() as i16);
    }
}

/// Where an integer stands among those of its panel, or of all: two steps of a column lie side by
/// side.
fn in_pairs(step: usize, column: usize) -> usize {
    step / 2 * 2 * PANEL + 2 * column + step % 2
}

/// The Euclidean norm.
///
/// # Safety
/// `from` has `n` floats.
unsafe fn norm(from: *const f32, n: usize) -> f64 {
    sum_of_squares(from, n).sqrt()
}

/// The scales of four positions in f16: finite also for positions that were never stored.
///
/// # Safety
/// The 8 bytes are readable.
#[inline(always)]
pub unsafe fn word_scales(from: *const u8) -> v128 {
    let scales = f32x4_abs(i32x4_shl(i32x4_load_extend_i16x4(from.cast()), 16));
    f32x4_pmin(f32x4_splat(f32::MAX), scales)
}

/// # Safety
/// `from` has `n` floats.
unsafe fn largest_magnitude(from: *const f32, n: usize) -> f32 {
    let body = n / 4 * 4;
    let mut lanes = [0f32; 4];
    let largest = (0..body).step_by(4).fold(zero(), |most, i| {
        // Passes over NaN, as f32::max does.
        f32x4_pmax(most, f32x4_abs(load(from.add(i))))
    });
    store(lanes.as_mut_ptr(), largest);
    let rest = (body..n).map(|i| from.add(i).read().abs());
    lanes.into_iter().chain(rest).fold(0f32, f32::max)
}

/// One block, of `n` elements.
///
/// # Safety
/// `from` has `n` floats, and `to` the places that `at` gives.
unsafe fn store_q8(
    from: *const f32,
    n: usize,
    scale: *mut u8,
    to: *mut u8,
    at: impl Fn(usize) -> (usize, usize),
) {
    let d = largest_magnitude(from, n) / 127.0;
    let inverse = if d > 0.0 { 1.0 / d } else { 0.0 };
    scale.cast::<u16>().write(f32_to_f16(d));
    for i in 0..n {
        let (step, column) = at(i);
        let q = (from.add(i).read() * inverse).round_ties_even() as i8;
        to.add(in_pairs(step, column)).write(q as u8);
    }
}
