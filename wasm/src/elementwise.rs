//! Additions, cuts and conversions of whole arrays.

use crate::f16::{f32_to_f16, narrow4_f16};
use crate::simd::*;

/// x[i] += y[i].
///
/// # Safety
/// Both have `n` floats.
#[no_mangle]
pub unsafe extern "C" fn add(x: *mut f32, y: *const f32, n: usize) {
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        store(x.add(i), f32x4_add(load(x.add(i)), load(y.add(i))));
    }
    for i in body..n {
        x.add(i).write(x.add(i).read() + y.add(i).read());
    }
}

/// x[i] = max(x[i], 0).
///
/// # Safety
/// `x` has `n` floats.
#[no_mangle]
pub unsafe extern "C" fn relu(x: *mut f32, n: usize) {
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        store(x.add(i), f32x4_max(load(x.add(i)), zero()));
    }
    for i in body..n {
        let x = x.add(i);
        // f32::max would turn NaN into 0.
        x.write(if x.read() < 0.0 { 0.0 } else { x.read() });
    }
}

/// Zeroes the elements with |h| <= threshold (NaN too); returns how many remain.
///
/// # Safety
/// `h` has `n` floats.
#[no_mangle]
pub unsafe extern "C" fn keep_above(h: *mut f32, n: usize, threshold: f32) -> u32 {
    let mut kept = 0;
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        let four = load(h.add(i));
        let keep = f32x4_gt(f32x4_abs(four), f32x4_splat(threshold));
        kept += i32x4_bitmask(keep).count_ones();
        store(h.add(i), v128_and(four, keep));
    }
    for i in body..n {
        if h.add(i).read().abs() > threshold {
            kept += 1;
        } else {
            h.add(i).write(0.0);
        }
    }
    kept
}

/// Stores `n` floats in a cache: `cache_type` 0 as f32, 1 as f16 (nearest, ties to even; beyond the largest half, the largest half).
///
/// # Safety
/// `src` has `n` floats, `dst` has room for `n` elements of the type.
#[no_mangle]
pub unsafe extern "C" fn kv_store(cache_type: u32, src: *const f32, n: usize, dst: *mut u8) {
    if cache_type == 0 {
        dst.copy_from_nonoverlapping(src.cast(), 4 * n);
        return;
    }
    let dst = dst.cast::<u16>();
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        let mut halves = [0u16; 8];
        store(halves.as_mut_ptr(), narrow4_f16(load(src.add(i))));
        dst.add(i).copy_from_nonoverlapping(halves.as_ptr(), 4);
    }
    for i in body..n {
        dst.add(i).write(f32_to_f16(src.add(i).read()));
    }
}
