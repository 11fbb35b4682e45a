//! exp in f32: relative error below 2e-7 on the range used (arguments at or below zero), checked in
//! the tests.

use crate::coefficients::ROUND;
use crate::simd::*;

/// exp(x) for x <= 0; 0 below -87.3 where the result would be subnormal; NaN stays NaN.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2, ln 2 in two parts so that r keeps its bits; then the Taylor
/// polynomial of degree 7, whose remainder is below 1e-8 there.
#[inline(always)]
pub fn exp_negative(x: v128) -> v128 {
    let [e] = exp_negatives([x]);
    e
}

/// The same of several vectors. V8 makes each constant anew, in three instructions, for a block of
/// code: several vectors share them.
#[inline(always)]
pub fn exp_negatives<const N: usize>(x: [v128; N]) -> [v128; N] {
    // `ROUND` leaves n, for which |n| <= 126 where the result is not 0, in the sum's low bits.
    let sum = x.map(|x| madd(x, f32x4_splat(core::f32::consts::LOG2_E), f32x4_splat(ROUND)));
    let n = sum.map(|sum| f32x4_sub(sum, f32x4_splat(ROUND)));
    let less = |r: [v128; N], part: f32| -> [v128; N] {
        core::array::from_fn(|i| f32x4_sub(r[i], f32x4_mul(n[i], f32x4_splat(part))))
    };
    let r = less(less(x, 0.693_359_4), -2.121_944_4e-4);
    let mut p = [f32x4_splat(1.0 / 5040.0); N];
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = core::array::from_fn(|i| madd(p[i], r[i], f32x4_splat(coefficient)));
    }
    core::array::from_fn(|i| {
        let power = i32x4_shl(i32x4_add(sum[i], i32x4_splat(127)), 23);
        let too_small = f32x4_lt(x[i], f32x4_splat(-87.3));
        v128_and(f32x4_mul(p[i], power), v128_not(too_small))
    })
}

/// 1 / (1 + exp(-x)).
#[inline(always)]
pub fn sigmoid<const N: usize>(x: [v128; N]) -> [v128; N] {
    // exp of -|x| never overflows; for negative x, sigmoid(x) = e / (1 + e).
    let e = exp_negatives(x.map(|x| f32x4_neg(f32x4_abs(x))));
    let one = f32x4_splat(1.0);
    core::array::from_fn(|i| {
        let numerator = v128_bitselect(e[i], one, f32x4_lt(x[i], zero()));
        f32x4_div(numerator, f32x4_add(one, e[i]))
    })
}

/// x / (1 + exp(-x)).
#[inline(always)]
pub fn silu<const N: usize>(x: [v128; N]) -> [v128; N] {
    let factors = sigmoid(x);
    core::array::from_fn(|i| f32x4_mul(x[i], factors[i]))
}

/// tanh(x), by exp(-2 |x|): absolute error below 3e-7.
#[inline(always)]
pub fn tanh(x: v128) -> v128 {
    let e = exp_negative(f32x4_mul(f32x4_abs(x), f32x4_splat(-2.0)));
    let one = f32x4_splat(1.0);
    let size = f32x4_div(f32x4_sub(one, e), f32x4_add(one, e));
    v128_bitselect(f32x4_neg(size), size, f32x4_lt(x, zero()))
}

/// x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2, which is x * sigmoid of twice that sum
/// (Hendrycks and Gimpel 2016, "Gaussian error linear units").
#[inline(always)]
pub fn gelu<const N: usize>(x: [v128; N]) -> [v128; N] {
    let factors = sigmoid(x.map(|x| {
        let cube = f32x4_mul(f32x4_mul(x, x), x);
        let sum = f32x4_add(x, f32x4_mul(cube, f32x4_splat(0.044_715)));
        f32x4_mul(sum, f32x4_splat(2.0 * 0.797_884_6))
    }));
    core::array::from_fn(|i| f32x4_mul(x[i], factors[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(f: impl Fn(v128) -> v128, x: f32) -> f32 {
        f32x4_extract_lane::<0>(f(f32x4_splat(x)))
    }

    #[test]
    fn exp_is_accurate() {
        for i in 0..2_000_000 {
            let x = -87.3 * i as f32 / 2_000_000.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(lane(exp_negative, x)) - expected).abs() / expected;
            assert!(error < 2e-7, "exp({x}): relative error {error:e}");
        }
        assert_eq!(lane(exp_negative, -88.0), 0.0);
        assert_eq!(lane(exp_negative, f32::NEG_INFINITY), 0.0);
        assert!(lane(exp_negative, f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_accurate() {
        for i in -100_000..100_000 {
            let x = i as f32 / 2000.0;
            let error = (f64::from(lane(tanh, x)) - f64::from(x).tanh()).abs();
            assert!(error < 3e-7, "tanh({x}): {error:e}");
        }
        assert!(lane(tanh, f32::NAN).is_nan());
    }

    #[test]
    fn gelu_is_accurate() {
        for i in -100_000..100_000 {
            let x = i as f32 / 1000.0;
            let wide = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
            let expected = 0.5 * wide * (1.0 + inner.tanh());
            let error = (f64::from(lane(|x| gelu([x])[0], x)) - expected).abs();
            assert!(error <= 5e-7 * wide.abs() + 1e-30, "gelu({x}): {error:e}");
        }
    }

    #[test]
    fn silu_is_accurate() {
        for i in -100_000..100_000 {
            let x = i as f32 / 1000.0;
            let expected = f64::from(x) / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(lane(|x| silu([x])[0], x)) - expected).abs();
            assert!(error <= 4e-7 * expected.abs() + 2e-36, "silu({x}): {error:e}");
        }
    }
}
