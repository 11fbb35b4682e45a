//! What training a predictor takes beside products: the gradient of its loss, and a step of Adam.

use crate::exp::sigmoid;
use crate::simd::*;

/// Turns each logit into the gradient of its binary cross-entropy, in which a hit counts `weight`
/// times: weight * (sigmoid(x) - 1) where `hits` is not 0, sigmoid(x) elsewhere.
///
/// # Safety
/// `x` has `n` floats, `hits` as many bytes.
#[no_mangle]
pub unsafe extern "C" fn cross_entropy_gradient(
    x: *mut f32,
    hits: *const u8,
    n: usize,
    weight: f32,
) {
    let one = f32x4_splat(1.0);
    let weights = f32x4_splat(weight);
    let gradient = |x: v128, hit: v128| {
        let [s] = sigmoid([x]);
        v128_bitselect(f32x4_mul(weights, f32x4_sub(s, one)), s, i32x4_gt(hit, zero()))
    };
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        let four = u16x8_extend_low_u8x16(v128_load32_zero(hits.add(i).cast()));
        store(x.add(i), gradient(load(x.add(i)), u32x4_extend_low_u16x8(four)));
    }
    for i in body..n {
        let hit = i32x4_splat(i32::from(hits.add(i).read()));
        let one = gradient(f32x4_splat(x.add(i).read()), hit);
        x.add(i).write(f32x4_extract_lane::<0>(one));
    }
}

/// A step of Adam (Kingma & Ba 2015, arXiv 1412.6980, the order of section 2): moves `weights`
/// against `gradient`, whose running `mean` and mean `square` it keeps. `rate` has the corrections
/// of both for their start at zero.
///
/// # Safety
/// All four have `n` floats.
#[no_mangle]
pub unsafe extern "C" fn adam(
    weights: *mut f32,
    gradient: *const f32,
    mean: *mut f32,
    square: *mut f32,
    n: usize,
    rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
) {
    let step = |w: v128, g: v128, m: v128, v: v128| {
        let m = f32x4_add(m, f32x4_mul(f32x4_splat(1.0 - beta1), f32x4_sub(g, m)));
        let v = f32x4_add(v, f32x4_mul(f32x4_splat(1.0 - beta2), f32x4_sub(f32x4_mul(g, g), v)));
        let size = f32x4_add(f32x4_sqrt(v), f32x4_splat(epsilon));
        [f32x4_sub(w, f32x4_div(f32x4_mul(f32x4_splat(rate), m), size)), m, v]
    };
    let body = n / 4 * 4;
    for i in (0..body).step_by(4) {
        let [w, m, v] = step(
            load(weights.add(i)),
            load(gradient.add(i)),
            load(mean.add(i)),
            load(square.add(i)),
        );
        store(weights.add(i), w);
        store(mean.add(i), m);
        store(square.add(i), v);
    }
    for i in body..n {
        let at = |p: *const f32| f32x4_splat(p.add(i).read());
        let [w, m, v] = step(at(weights), at(gradient), at(mean), at(square));
        weights.add(i).write(f32x4_extract_lane::<0>(w));
        mean.add(i).write(f32x4_extract_lane::<0>(m));
        square.add(i).write(f32x4_extract_lane::<0>(v));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_is_accurate() {
        for i in -100_000..100_000 {
            let x = i as f32 / 1000.0;
            let expected = 1.0 / (1.0 + (-f64::from(x)).exp());
            let sigmoid = f64::from(f32x4_extract_lane::<0>(sigmoid([f32x4_splat(x)])[0]));
            assert!((sigmoid - expected).abs() <= 4e-7 * expected + 2e-38, "sigmoid({x})");
        }
    }

    #[test]
    fn every_lane_has_the_gradient_of_its_own_label() {
        for n in 0..10 {
            let mut x: Vec<f32> = (0..n).map(|i| i as f32 - 4.0).collect();
            let hits: Vec<u8> = (0..n).map(|i| [0, 1, 255][i % 3]).collect();
            let before = x.clone();
            unsafe { cross_entropy_gradient(x.as_mut_ptr(), hits.as_ptr(), n, 3.0) };
            for i in 0..n {
                let s = 1.0 / (1.0 + (-before[i]).exp());
                let expected = if hits[i] == 0 { s } else { 3.0 * (s - 1.0) };
                assert!((x[i] - expected).abs() < 1e-6, "{} of {}", x[i], before[i]);
            }
        }
    }
}
