//! IEEE half precision in integer and f32 operations: WASM has no conversion of its own.

use crate::simd::*;

/// 2^112: the difference of the exponent biases of f32 (127) and f16 (15).
pub const REBIAS: f32 = f32::from_bits((127 + 112) << 23);

/// REBIAS in two steps. A sum of products with halves that were not widened whole, times numbers
/// enlarged first, is restored at its end: exact, and one multiplication less for each vector of
/// halves. No number on the way overflows or loses bits as subnormal, where REBIAS alone, first or
/// last, would do that.
pub const ENLARGE: f32 = f32::from_bits((127 + 60) << 23);
pub const RESTORE: f32 = f32::from_bits((127 + 52) << 23);

/// The exact value of f16 bits, infinities and NaN included.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    if magnitude >= 0x7c00 << 13 {
        return f32::from_bits(sign | 0x7f80_0000 | (magnitude & 0x007f_ffff));
    }
    // The multiplication renormalises subnormal halves too, and is exact.
    f32::from_bits(sign | (f32::from_bits(magnitude) * REBIAS).to_bits())
}

/// The nearest f16, ties to even; beyond the largest finite half, that one. NaN stays NaN.
pub fn f32_to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    let half = if magnitude < 113 << 23 {
        // Below 2^-14 a half is a multiple of 2^-24, the spacing of f32 at 0.5: the addition
        // rounds.
        (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()
    } else {
        (magnitude + 0xfff + ((magnitude >> 13) & 1) - (112 << 23)) >> 13
    };
    sign | half.min(0x7bff) as u16
}

/// Widens four finite halves, sign-extended to words: exact. `bias` is `HALF_BIAS`. (An infinity or
/// NaN becomes a number of magnitude 65536 or more.)
#[inline(always)]
pub fn widen(halves: v128, bias: v128) -> v128 {
    let sign = i32x4_shl(i32x4_shr(halves, 31), 31);
    v128_or(sign, widen_shifted(u32x4_shr(i32x4_shl(halves, 17), 4), bias))
}

/// Four halves, 2^-112 times as large.
///
/// # Safety
/// The 8 bytes at `p` are readable.
#[inline(always)]
pub unsafe fn load4_raw_f16(p: *const u16) -> v128 {
    raw(i32x4_load_extend_i16x4(p.cast()))
}

/// Two of them, and the same again.
///
/// # Safety
/// The 4 bytes at `p` are readable.
#[inline(always)]
pub unsafe fn load2_raw_f16_twice(p: *const u16) -> v128 {
    raw(i32x4_extend_low_i16x8(v128_load32_splat(p.cast())))
}

#[inline(always)]
fn raw(halves: v128) -> v128 {
    v128_and(i32x4_shl(halves, 13), i32x4_splat(HALF_BITS))
}

/// Eight halves as two vectors of f32, 2^-112 times as large (see `load4_raw_f16`): word L has
/// number L in its lower half and number L + 4 in its upper half. `mask` is `HALF_BITS`.
#[inline(always)]
pub fn widen_raw(halves: v128, mask: v128) -> [v128; 2] {
    let lower = i32x4_shr(i32x4_shl(halves, 16), 3);
    [v128_and(lower, mask), v128_and(i32x4_shr(halves, 3), mask)]
}

/// Eight halves times `factor`, in each lane the same power of two of 1 or more: exact where no
/// result reaches 2^16. `mask` is `HALF_BITS`.
#[inline(always)]
pub fn scale8_f16(halves: v128, factor: v128, mask: v128) -> v128 {
    let [lower, upper] = widen_raw(halves, mask).map(|raw| i32x4_shl(f32x4_mul(raw, factor), 3));
    let magnitudes = v128_or(u32x4_shr(lower, 16), upper);
    v128_bitselect(halves, magnitudes, i16x8_splat(1 << 15))
}

/// The bits of an f32 that a half reaches.
pub const HALF_BITS: i32 = 0x8fff_e000_u32 as i32;

/// Halves without a sign, in the lower halves of words, as f32: no operation meets a subnormal f32,
/// which costs some CPUs a hundred cycles.
#[inline(always)]
pub fn widen_positive(halves: v128) -> v128 {
    widen_shifted(i32x4_shl(halves, 13), i32x4_splat(HALF_BIAS))
}

/// What is added to the exponent of a half; as an f32 it is 2^-15.
pub const HALF_BIAS: i32 = 112 << 23;

/// The same of halves 13 bits further up.
#[inline(always)]
fn widen_shifted(halves: v128, bias: v128) -> v128 {
    let normal = i32x4_add(halves, bias);
    // A subnormal m 2^-24 is there (1 + m / 1024) 2^-15: this is below, and what it is. It is not
    // below others.
    let above = f32x4_sub(normal, bias);
    f32x4_pmin(f32x4_add(above, above), normal)
}

/// Where number `i` stands among the eight of `widen_raw`.
pub const fn half_of(i: usize) -> usize {
    i % 4 * 2 + i / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_round_trip() {
        for bits in 0..=u16::MAX {
            let x = f16_to_f32(bits);
            let expected = match bits & 0x7fff {
                0x7c00 => bits - 1,
                0x7c01.. => bits & 0x8000 | 0x7e00,
                _ => bits,
            };
            assert_eq!(f32_to_f16(x), expected, "{bits:#06x}");
        }
    }

    #[test]
    fn rounds_to_nearest_even() {
        for bits in 0..0x7bffu16 {
            let (low, high) = (f16_to_f32(bits), f16_to_f32(bits + 1));
            let middle = (low + high) / 2.0;
            assert_eq!(f32_to_f16(middle), bits + (bits & 1));
            assert_eq!(f32_to_f16(f32::from_bits(middle.to_bits() - 1)), bits);
            assert_eq!(f32_to_f16(-f32::from_bits(middle.to_bits() + 1)), (bits + 1) | 0x8000);
        }
    }

    #[test]
    fn vector_forms_agree_with_scalars() {
        for bits in (0..=u16::MAX).filter(|b| b & 0x7c00 != 0x7c00) {
            let mut wide = [0f32; 4];
            let bias = i32x4_splat(HALF_BIAS);
            unsafe { store(wide.as_mut_ptr(), widen(i32x4_splat((bits as i16).into()), bias)) };
            assert_eq!(wide.map(f32::to_bits), [f16_to_f32(bits).to_bits(); 4]);
            let word = i32x4_splat((bits & 0x7fff).into());
            unsafe { store(wide.as_mut_ptr(), widen_positive(word)) };
            assert_eq!(wide.map(f32::to_bits), [f16_to_f32(bits & 0x7fff).to_bits(); 4]);
        }
        for bits in 0..=u16::MAX {
            let eight = core::array::from_fn::<_, 8, _>(|i| bits.rotate_left(i as u32));
            let mut wide = [0f32; 8];
            unsafe {
                let raw = widen_raw(load(eight.as_ptr()), i32x4_splat(HALF_BITS));
                store(wide.as_mut_ptr(), raw[0]);
                store(wide.as_mut_ptr().add(4), raw[1]);
            }
            for i in 0..8 {
                let mut single = [0f32; 4];
                let halves = [eight[half_of(i)]; 4];
                unsafe { store(single.as_mut_ptr(), load4_raw_f16(halves.as_ptr())) };
                assert_eq!(wide[i].to_bits(), single[0].to_bits());
            }
        }
    }

    #[test]
    fn halves_are_enlarged_exactly() {
        for bits in 0..=u16::MAX {
            for exponent in 0..40 {
                let factor = (exponent as f32).exp2();
                let expected = f16_to_f32(bits) * factor;
                if expected.abs() >= 65536.0 || expected.is_nan() {
                    break;
                }
                let mut halves = [bits; 8];
                unsafe {
                    let [factor, mask] = [f32x4_splat(factor), i32x4_splat(HALF_BITS)];
                    let scaled = scale8_f16(load(halves.as_ptr()), factor, mask);
                    store(halves.as_mut_ptr(), scaled);
                }
                let scaled = halves.map(|half| f16_to_f32(half).to_bits());
                assert_eq!(scaled, [expected.to_bits(); 8], "{bits:#06x} times {factor}");
            }
        }
    }
}
