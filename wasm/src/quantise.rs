//! Writers of ggml's Q4_K and Q6_K: what `src/formats/ggml/quantise_k.ts` does, step by step in
//! f64, so that the bytes are the same.
//!
//! Each group of weights gets a real scale (and minimum) by least squares, from the best of a few
//! first scales; these become small integers under the block's f16 scale; then the weights are
//! rounded under what was stored. The first scales are tried side by side, two in a vector.

use crate::f16::{f16_to_f32, f32_to_f16};
use crate::ggml::{block_size, Q4_K, Q6_K};
use crate::simd::*;

/// Steps by which the first scales spread the weights beyond the integers' range. The last one
/// comes twice, to fill a vector.
const SPREADS: [f64; LANES] = [-0.5, 0.0, 0.5, 1.0, 1.5, 1.5];
const LANES: usize = 6;
const WEIGHTS: usize = 256;

/// Writes `blocks` blocks of Q4_K or Q6_K, whose bytes are zero before. Returns how many it wrote:
/// the next one has a weight that is not finite, or a scale that f16 cannot hold.
///
/// # Safety
/// `values` has 256 floats for each block, `out` the bytes of all blocks.
#[no_mangle]
pub unsafe extern "C" fn quantise_k(
    ggml_type: u32,
    values: *const f32,
    blocks: usize,
    out: *mut u8,
) -> usize {
    let Some((bytes, _)) = block_size(ggml_type) else {
        return 0;
    };
    for index in 0..blocks {
        let from = &*values.add(index * WEIGHTS).cast::<[f32; WEIGHTS]>();
        let block = core::slice::from_raw_parts_mut(out.add(index * bytes), bytes);
        // The bits of NaN and infinity, taken as integers, are above those of all numbers.
        let largest = from.iter().fold(0, |largest: u32, x| largest.max(x.abs().to_bits()));
        let x = from.map(f64::from);
        let written = largest < f32::INFINITY.to_bits()
            && match ggml_type {
                Q4_K => write_q4_k(&x, block),
                Q6_K => write_q6_k(&x, block),
                _ => false,
            };
        if !written {
            return index;
        }
    }
    blocks
}

/// The nearest integer, ties up.
#[inline(always)]
fn nearest(x: f64) -> f64 {
    (x + 0.5).floor()
}

#[inline(always)]
fn clamp(x: f64, lowest: f64, highest: f64) -> f64 {
    let x = if x < lowest { lowest } else { x };
    if x > highest {
        highest
    } else {
        x
    }
}

/// The first number of the largest magnitude, with its sign.
#[inline(always)]
fn largest_magnitude(x: &[f64; 16]) -> f64 {
    let mut largest = f64x2_splat(0.0);
    for pair in x.chunks_exact(2) {
        // SAFETY: a pair fills a vector.
        largest = f64x2_pmax(largest, f64x2_abs(unsafe { load(pair.as_ptr()) }));
    }
    let (a, b) = (f64x2_extract_lane::<0>(largest), f64x2_extract_lane::<1>(largest));
    let largest = if b > a { b } else { a };
    x.iter().copied().find(|x| x.abs() == largest).unwrap_or(0.0)
}

/// The integers nearest to (x + min) / scale, ties up, not beyond `least` and `most`, as bytes.
#[inline(always)]
fn quants(x: &[f64; 16], min: f64, scale: f64, least: f64, most: f64) -> v128 {
    /// The last bits of a whole number of magnitude below 2^31 plus this are that number.
    const WHOLE: f64 = 1.5 * (1u64 << 52) as f64;
    let (min, scale) = (f64x2_splat(min), f64x2_splat(scale));
    let (least, most) = (f64x2_splat(least), f64x2_splat(most));
    let pair = |i: usize| {
        // SAFETY: a pair fills a vector.
        let x = unsafe { load(x.as_ptr().add(2 * i)) };
        let q = f64x2_floor(f64x2_add(f64x2_div(f64x2_add(x, min), scale), f64x2_splat(0.5)));
        f64x2_add(f64x2_pmin(f64x2_pmax(q, least), most), f64x2_splat(WHOLE))
    };
    let four = |i: usize| i32x4_shuffle::<0, 2, 4, 6>(pair(2 * i), pair(2 * i + 1));
    let eight = |i: usize| i16x8_narrow_i32x4(four(2 * i), four(2 * i + 1));
    i8x16_narrow_i16x8(eight(0), eight(1))
}

/// bytes |= values << shift, of 16 bytes whose bits stay within them.
#[inline(always)]
fn or_shifted(bytes: &mut [u8], values: v128, shift: u32) {
    let bytes: &mut [u8; 16] = (&mut bytes[..16]).try_into().unwrap();
    // SAFETY: the bytes fill a vector.
    unsafe { store(bytes.as_mut_ptr(), v128_or(load(bytes.as_ptr()), i16x8_shl(values, shift))) };
}

/// Writes an f16 and gives the value that it holds; `None` beyond f16.
fn write_half(block: &mut [u8], offset: usize, value: f64) -> Option<f64> {
    let value = value as f32;
    // 65520 is half-way between the largest half and the next power of two.
    if value.abs() >= 65520.0 {
        return None;
    }
    let half = f32_to_f16(value);
    block[offset..offset + 2].copy_from_slice(&half.to_le_bytes());
    Some(f64::from(f16_to_f32(half)))
}

/// d, dmin, 12 bytes of 6-bit scales and minimums, 128 bytes of nibbles.
fn write_q4_k(x: &[f64; WEIGHTS], block: &mut [u8]) -> bool {
    let group = |g: usize| -> &[f64; 32] { x[32 * g..32 * g + 32].try_into().unwrap() };
    let fits: [(f64, f64); 8] = core::array::from_fn(|g| fit_affine(group(g), 15.0));
    let mut store = |reals: [f64; 8], offset: usize| -> Option<(f64, [f64; 8])> {
        let largest = reals.iter().fold(f64::NEG_INFINITY, |a, &b| if b > a { b } else { a });
        let unit = write_half(block, offset, largest / 63.0)?;
        let integer =
            |real: f64| if unit == 0.0 { 0.0 } else { clamp(nearest(real / unit), 0.0, 63.0) };
        Some((unit, reals.map(integer)))
    };
    let Some((d, scales)) = store(fits.map(|fit| fit.0), 0) else {
        return false;
    };
    let Some((dmin, mins)) = store(fits.map(|fit| fit.1), 2) else {
        return false;
    };
    for g in 0..8 {
        let (scale, min) = (scales[g] as u8, mins[g] as u8);
        if g < 4 {
            block[4 + g] |= scale;
            block[8 + g] |= min;
        } else {
            block[8 + g] |= (scale & 15) | (min & 15) << 4;
            block[g] |= scale >> 4 << 6;
            block[4 + g] |= min >> 4 << 6;
        }
        let (scale, min) = (d * scales[g], dmin * mins[g]);
        if scale == 0.0 {
            continue;
        }
        for half in 0..2 {
            let from = 32 * g + 16 * half;
            let q = quants(x[from..from + 16].try_into().unwrap(), min, scale, 0.0, 15.0);
            or_shifted(&mut block[16 + 32 * (g / 2) + 16 * half..], q, 4 * (g as u32 % 2));
        }
    }
    true
}

/// 128 bytes of low nibbles, 64 of upper bit pairs, 16 i8 scales, d.
fn write_q6_k(x: &[f64; WEIGHTS], block: &mut [u8]) -> bool {
    let group = |g: usize| -> &[f64; 16] { x[16 * g..16 * g + 16].try_into().unwrap() };
    let fits: [f64; 16] = core::array::from_fn(|g| fit_scale(group(g), 32.0));
    let Some(d) = write_half(block, 208, largest_magnitude(&fits) / -128.0) else {
        return false;
    };
    for (g, fit) in fits.iter().enumerate() {
        let integer = if d == 0.0 { 0.0 } else { clamp(nearest(fit / d), -128.0, 127.0) };
        block[192 + g] = integer as i32 as u8;
        let scale = d * integer;
        let half = g / 8;
        let nibbles = 64 * half + 16 * (g % 4);
        let pairs = 128 + 32 * half + 16 * (g % 2);
        let middle = i8x16_splat(32);
        let q = if scale == 0.0 {
            middle
        } else {
            i8x16_add(quants(group(g), 0.0, scale, -32.0, 31.0), middle)
        };
        let low = v128_and(q, i8x16_splat(15));
        let high = v128_and(u16x8_shr(q, 4), i8x16_splat(3));
        or_shifted(&mut block[nibbles..], low, 4 * (g as u32 / 4 % 2));
        or_shifted(&mut block[pairs..], high, 2 * (g as u32 / 2 % 4));
    }
    true
}

/// A number for each of the spreads.
type Lanes = [v128; LANES / 2];

#[inline(always)]
fn from_lanes(lanes: [f64; LANES]) -> Lanes {
    // SAFETY: both are the same bytes.
    core::array::from_fn(|v| unsafe { load(lanes.as_ptr().add(2 * v)) })
}

#[inline(always)]
fn to_lanes(vectors: Lanes) -> [f64; LANES] {
    let mut lanes = [0f64; LANES];
    for (v, vector) in vectors.into_iter().enumerate() {
        // SAFETY: two lanes of the six.
        unsafe { store(lanes.as_mut_ptr().add(2 * v), vector) };
    }
    lanes
}

/// sum += a * b
#[inline(always)]
fn add_product(sum: &mut v128, a: v128, b: v128) {
    *sum = f64x2_add(*sum, f64x2_mul(a, b));
}

/// The nearest integers to x * inverse, ties up.
#[inline(always)]
fn nearest_products(x: v128, inverse: v128) -> v128 {
    f64x2_floor(f64x2_add(f64x2_mul(x, inverse), f64x2_splat(0.5)))
}

/// Fits weights by scale * q with q in -lowest..lowest.
fn fit_scale(x: &[f64; 16], lowest: f64) -> f64 {
    let extreme = largest_magnitude(x);
    if extreme == 0.0 {
        return 0.0;
    }
    let inverse = from_lanes(SPREADS.map(|spread| -(lowest + spread) / extreme));
    let (least, most) = (f64x2_splat(-lowest), f64x2_splat(lowest - 1.0));
    let (mut xq, mut qq) = (from_lanes([0.0; LANES]), from_lanes([0.0; LANES]));
    for &x in x {
        let x = f64x2_splat(x);
        for v in 0..LANES / 2 {
            let q = f64x2_pmin(f64x2_pmax(nearest_products(x, inverse[v]), least), most);
            add_product(&mut xq[v], x, q);
            add_product(&mut qq[v], q, q);
        }
    }
    let (xq, qq) = (to_lanes(xq), to_lanes(qq));
    // The squared error is the sum of x^2 less xq^2 / qq, so the last term is maximised.
    let (mut best, mut largest) = (0.0, 0.0);
    for s in 0..LANES {
        let gain = if qq[s] == 0.0 { 0.0 } else { xq[s] * xq[s] / qq[s] };
        if gain > largest {
            (best, largest) = (xq[s] / qq[s], gain);
        }
    }
    best
}

/// Fits weights by scale * q - min with q in 0..=largest, min not below 0.
fn fit_affine(x: &[f64; 32], largest: f64) -> (f64, f64) {
    let (mut low, mut high) = (f64x2_splat(0.0), f64x2_splat(f64::NEG_INFINITY));
    for pair in x.chunks_exact(2) {
        // SAFETY: a pair fills a vector.
        let pair = unsafe { load(pair.as_ptr()) };
        (low, high) = (f64x2_pmin(low, pair), f64x2_pmax(high, pair));
    }
    let ends = |a: v128| (f64x2_extract_lane::<0>(a), f64x2_extract_lane::<1>(a));
    let (low, high) = (ends(low), ends(high));
    let low = if low.1 < low.0 { low.1 } else { low.0 };
    let high = if high.1 > high.0 { high.1 } else { high.0 };
    if high <= low {
        return (0.0, -low);
    }
    let inverse = from_lanes(SPREADS.map(|spread| (largest + spread) / (high - low)));
    let most = f64x2_splat(largest);
    let mut quants = [[f64x2_splat(0.0); LANES / 2]; 32];
    let mut sum = 0.0;
    let [mut q1, mut xq, mut qq] = [from_lanes([0.0; LANES]); 3];
    for (&x, quants) in x.iter().zip(&mut quants) {
        sum += x;
        let (above, x) = (f64x2_splat(x - low), f64x2_splat(x));
        for v in 0..LANES / 2 {
            let q = f64x2_pmin(nearest_products(above, inverse[v]), most);
            quants[v] = q;
            q1[v] = f64x2_add(q1[v], q);
            add_product(&mut xq[v], x, q);
            add_product(&mut qq[v], q, q);
        }
    }
    let [q1, xq, qq] = [q1, xq, qq].map(to_lanes);
    let lines: [(f64, f64); LANES] =
        core::array::from_fn(|s| fit_line(32.0, sum, q1[s], xq[s], qq[s]));
    let scale = from_lanes(lines.map(|line| line.0));
    let min = from_lanes(lines.map(|line| line.1));
    let mut error = from_lanes([0.0; LANES]);
    for (&x, quants) in x.iter().zip(&quants) {
        let x = f64x2_splat(x);
        for v in 0..LANES / 2 {
            let value = f64x2_sub(f64x2_mul(scale[v], quants[v]), min[v]);
            let difference = f64x2_sub(value, x);
            add_product(&mut error[v], difference, difference);
        }
    }
    let mut best = (0.0, 0.0);
    let mut smallest = f64::INFINITY;
    for (line, error) in lines.into_iter().zip(to_lanes(error)) {
        if error < smallest {
            (best, smallest) = (line, error);
        }
    }
    best
}

/// The line through n points (q, x) of least squared error whose minimum is not above 0.
fn fit_line(n: f64, x: f64, q: f64, xq: f64, qq: f64) -> (f64, f64) {
    let spread = n * qq - q * q;
    let scale = if spread == 0.0 { 0.0 } else { (n * xq - q * x) / spread };
    let min = (scale * q - x) / n;
    if spread > 0.0 && min >= 0.0 {
        return (scale, min);
    }
    // The line through the origin; integers that are all equal fix no other.
    let slope = if qq == 0.0 { 0.0 } else { xq / qq };
    (if slope > 0.0 { slope } else { 0.0 }, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ggml::read_block;

    #[test]
    fn weights_come_back_near_and_what_cannot_be_stored_is_told() {
        let x: Vec<f32> = (0..512).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let within = |out: &[u8], block: usize, error: f32, q4: bool| {
            for part in 0..8 {
                let row = &out[block..];
                let read = unsafe {
                    if q4 {
                        read_block::<Q4_K>(row.as_ptr(), part)
                    } else {
                        read_block::<Q6_K>(row.as_ptr(), part)
                    }
                };
                for i in 0..32 {
                    assert!((read.value(i) - x[32 * part + i]).abs() < error);
                }
            }
        };
        for (ggml_type, bytes, error) in [(Q4_K, 144, 0.08), (Q6_K, 210, 0.03)] {
            let mut out = vec![0u8; 2 * bytes];
            let mut quantise = |x: &[f32]| unsafe {
                out.fill(0);
                quantise_k(ggml_type, x.as_ptr(), 2, out.as_mut_ptr())
            };
            let mut broken = x.clone();
            for bad in [f32::NAN, f32::INFINITY, 3e38] {
                broken[300] = bad;
                assert_eq!(quantise(&broken), 1);
            }
            assert_eq!(quantise(&x), 2);
            within(&out, 0, error, ggml_type == Q4_K);
        }
        let mut out = [0u8; 144];
        assert_eq!(unsafe { quantise_k(99, x.as_ptr(), 1, out.as_mut_ptr()) }, 0);
    }
}
