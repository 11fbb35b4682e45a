//! Lane order: 128 columns of an output as the block kinds' vectors come, vector i (0..32) holding column 32 L + i in lane L.
//!
//! Adding rows to an output in this order needs no shuffle; the order is changed once before and after many rows.

use crate::layout::GROUP;
use crate::simd::*;

/// Brings `groups` times 128 floats into lane order.
///
/// # Safety
/// `x` has them.
pub unsafe fn to_lanes(x: *mut f32, groups: usize) {
    for g in 0..groups {
        let x = x.wrapping_add(g * GROUP);
        let mut vectors = [zero(); 32];
        for i in 0..8 {
            let rows = core::array::from_fn(|lane| load(x.add(32 * lane + 4 * i)));
            vectors[4 * i..4 * i + 4].copy_from_slice(&transpose(rows));
        }
        for (i, vector) in vectors.into_iter().enumerate() {
            store(x.add(4 * i), vector);
        }
    }
}

/// Undoes `to_lanes`.
///
/// # Safety
/// `x` has `groups` times 128 floats.
pub unsafe fn from_lanes(x: *mut f32, groups: usize) {
    for g in 0..groups {
        let x = x.wrapping_add(g * GROUP);
        let vectors: [v128; 32] = core::array::from_fn(|i| load(x.add(4 * i)));
        for i in 0..8 {
            let four = [vectors[4 * i], vectors[4 * i + 1], vectors[4 * i + 2], vectors[4 * i + 3]];
            for (lane, row) in transpose(four).into_iter().enumerate() {
                store(x.add(32 * lane + 4 * i), row);
            }
        }
    }
}
