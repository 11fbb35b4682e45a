//! How keys and values lie in a page of the cache: as attention reads them.
//!
//! A page has 32 positions of one KV head: their keys, then their values, of `side_bytes` each. Both consist of panels, products of which are sums over
//! *steps* for 8 *columns* at once: a panel of keys has 8 positions for columns and the head's elements for steps, a panel of values has 8 elements
//! for columns and the page's positions for steps.
//!
//! - f32: `[panel][step][8 columns]`.
//! - f16: the same, behind the exponents of the 32 positions, a byte each: an element is its half, as `widen_raw` gives it, times 2^(exponent - 127). The
//!   largest element of a position becomes a half of [2^14, 2^15]: halves that are subnormal, which cost some CPUs a hundred cycles a product, are
//!   2^-28 of it. Word L of a step has column L in its lower half and column L + 4 in its upper half, so that one load widens to two vectors.
//! - q8_0 (ggml's: 32 elements share a scale, an f16): bytes of two steps side by side, `[panel][step / 2][8 columns][2]`, as `i32x4_dot_i16x8` sums
//!   them. A block of 32 elements stands together with its scales. Keys: `[panel][block]`, each the scales of 8 positions, as f16 columns, and 16 pairs
//!   of steps. Values: `[block]`, each the scales of 32 positions and 4 panels.
//!
//! What pads a head to whole panels or blocks is never written, and what it gives is never used.

use crate::f16::{f32_to_f16, half_of, narrow4_f16};
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
        F16 => PAGE + head_dim.next_multiple_of(PANEL) * PAGE * 2,
        _ => head_dim.div_ceil(BLOCK) * VALUE_BLOCK_BYTES,
    }
}

/// Stores a key and a value of `head_dim` floats at position `slot` of a page. `cache_type` 0 keeps f32, 1 rounds to the 11 significant bits of f16
/// (nearest, ties to even; fewer below 2^-28 of the largest magnitude; 65504 * 2^15 for what is larger), 2 to q8_0: scale = amax / 127, so that |error| <= amax / 254, but for the scale's own rounding to f16, 2^-11 of it.
///
/// # Safety
/// `key` and `value` have `head_dim` floats, the page has room for twice `side_bytes`, `slot` is below 32.
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
    // Of element i of the key, of element j of the value: the step, counted over all panels, and the column.
    let key_at = |i: usize| (panel_steps + i, column);
    let value_at = |j: usize| (j / PANEL * PAGE + slot, j % PANEL);
    match cache_type {
        F32 => {
            store_f32(key, head_dim, page, key_at);
            store_f32(value, head_dim, values, value_at);
        }
        F16 => {
            store_f16(key, head_dim, page, slot, key_at);
            store_f16(value, head_dim, values, slot, value_at);
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

unsafe fn store_f32(from: *const f32, n: usize, to: *mut u8, at: impl Fn(usize) -> (usize, usize)) {
    for i in 0..n {
        let (step, column) = at(i);
        to.cast::<f32>().add(PANEL * step + column).write(from.add(i).read());
    }
}

unsafe fn store_f16(
    from: *const f32,
    n: usize,
    to: *mut u8,
    slot: usize,
    at: impl Fn(usize) -> (usize, usize),
) {
    let put = |i: usize, bits: u16| {
        let (step, column) = at(i);
        to.add(PAGE).cast::<u16>().add(PANEL * step + half_of(column)).write(bits);
    };
    let (exponent, factor) = shared_exponent(largest_magnitude(from, n));
    to.add(slot).write(exponent);
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        let mut halves = [0u16; 8];
        let x = f32x4_mul(load(from.add(i)), f32x4_splat(factor));
        store(halves.as_mut_ptr(), narrow4_f16(x));
        for j in 0..4 {
            put(i + j, halves[j]);
        }
    }
    for i in body..n {
        put(i, f32_to_f16(from.add(i).read() * factor));
    }
}

unsafe fn largest_magnitude(from: *const f32, n: usize) -> f32 {
    (0..n).fold(0f32, |most, i| most.max(from.add(i).read().abs()))
}

/// The exponent byte of a position whose largest magnitude is given, and what its elements are multiplied by to become halves: powers of two, within what
/// the byte and an f32 can be.
fn shared_exponent(largest: f32) -> (u8, f32) {
    let exponent = (largest.to_bits() >> 23).clamp(14, 156);
    let factor = f32::from_bits((127 + 127 + 14 - exponent) << 23);
    ((exponent + 112 - 14) as u8, factor)
}

/// What a half of four positions from `exponents` on, as `widen_raw` gives it, is multiplied by.
///
/// # Safety
/// The 4 bytes are readable.
#[inline(always)]
pub unsafe fn position_scales(exponents: *const u8) -> v128 {
    let words = u16x8_extend_low_u8x16(v128_load32_zero(exponents.cast()));
    i32x4_shl(u32x4_extend_low_u16x8(words), 23)
}

/// One block, of `n` elements.
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
        to.add(step / 2 * 2 * PANEL + 2 * column + step % 2).write(q as u8);
    }
}
