//! Normalisation of rows.

use crate::simd::*;

/// out[t][i] = x[t][i] / sqrt(mean of squares of x[t] + eps) * weight[i], zeros for k <= i <
/// out_stride. The sum of squares is in f64. `out` may be `x`.
///
/// # Safety
/// `x` has `n_tokens` rows of `k` floats `x_stride` apart, `weight` has `k`, `out` has `n_tokens *
/// out_stride`, and `out_stride >= k`.
#[no_mangle]
pub unsafe extern "C" fn rms_norm(
    x: *const f32,
    x_stride: usize,
    weight: *const f32,
    n_tokens: usize,
    k: usize,
    eps: f32,
    out: *mut f32,
    out_stride: usize,
) {
    for t in 0..n_tokens {
        let row = x.wrapping_add(t * x_stride);
        let to = out.wrapping_add(t * out_stride);
        let mean = sum_of_squares(row, k) / k.max(1) as f64;
        let scale = (1.0 / (mean + f64::from(eps)).sqrt()) as f32;
        let body = k / 4 * 4;
        for i in (0..body).step_by(4) {
            let y = f32x4_mul(load(row.add(i)), f32x4_splat(scale));
            store(to.add(i), f32x4_mul(y, load(weight.add(i))));
        }
        for i in body..k {
            to.add(i).write(row.add(i).read() * scale * weight.add(i).read());
        }
        for i in k..out_stride {
            to.add(i).write(0.0);
        }
    }
}

/// out[t] = (x[t] - mean) / sqrt(variance of x[t] + eps) * weight + bias (Ba et al. 2016, "Layer
/// normalization"), zeros for k <= i < out_stride. Sums are in f64. `out` may be `x`.
///
/// # Safety
/// As for `rms_norm`; `bias` has `k` floats.
#[no_mangle]
pub unsafe extern "C" fn layer_norm(
    x: *const f32,
    x_stride: usize,
    weight: *const f32,
    bias: *const f32,
    n_tokens: usize,
    k: usize,
    eps: f32,
    out: *mut f32,
    out_stride: usize,
) {
    let n = k.max(1) as f64;
    for t in 0..n_tokens {
        let row = x.wrapping_add(t * x_stride);
        let to = out.wrapping_add(t * out_stride);
        let mean = (0..k).map(|i| f64::from(row.add(i).read())).sum::<f64>() / n;
        let centred = |i: usize| f64::from(row.add(i).read()) - mean;
        let variance = (0..k).map(|i| centred(i) * centred(i)).sum::<f64>() / n;
        let scale = 1.0 / (variance + f64::from(eps)).sqrt();
        for i in 0..k {
            let y = (centred(i) * scale) as f32;
            to.add(i).write(y * weight.add(i).read() + bias.add(i).read());
        }
        for i in k..out_stride {
            to.add(i).write(0.0);
        }
    }
}

/// In f64: squares of f32 may be too large for an f32, or too small.
///
/// # Safety
/// `x` has `k` floats.
pub unsafe fn sum_of_squares(x: *const f32, k: usize) -> f64 {
    let mut sums = [f64x2_splat(0.0); 2];
    let body = k / 4 * 4;
    for i in (0..body).step_by(4) {
        let four = load(x.add(i));
        let upper = i32x4_shuffle::<2, 3, 2, 3>(four, four);
        for (sum, half) in sums.iter_mut().zip([four, upper]) {
            let wide = f64x2_promote_low_f32x4(half);
            *sum = f64x2_add(*sum, f64x2_mul(wide, wide));
        }
    }
    let sum = f64x2_add(sums[0], sums[1]);
    let mut total = f64x2_extract_lane::<0>(sum) + f64x2_extract_lane::<1>(sum);
    for i in body..k {
        let x = f64::from(x.add(i).read());
        total += x * x;
    }
    total
}
