//! Additions, scales and cuts of whole arrays.

use crate::exp::tanh;
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

/// x[i] *= factor.
///
/// # Safety
/// It has `n` floats.
#[no_mangle]
pub unsafe extern "C" fn scale(x: *mut f32, n: usize, factor: f32) {
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        store(x.add(i), f32x4_mul(load(x.add(i)), f32x4_splat(factor)));
    }
    for i in body..n {
        x.add(i).write(x.add(i).read() * factor);
    }
}

/// x[i] = cap * tanh(x[i] / cap).
///
/// # Safety
/// It has `n` floats.
#[no_mangle]
pub unsafe extern "C" fn soft_cap(x: *mut f32, n: usize, cap: f32) {
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        store(x.add(i), softened(load(x.add(i)), f32x4_splat(cap)));
    }
    for i in body..n {
        let four = softened(f32x4_splat(x.add(i).read()), f32x4_splat(cap));
        x.add(i).write(f32x4_extract_lane::<0>(four));
    }
}

/// cap * tanh(x / cap).
#[inline(always)]
pub fn softened(x: v128, cap: v128) -> v128 {
    f32x4_mul(cap, tanh(f32x4_div(x, cap)))
}

/// x[i] = 0.
///
/// # Safety
/// It has `n` floats.
pub unsafe fn clear(x: *mut f32, n: usize) {
    x.write_bytes(0, n);
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
