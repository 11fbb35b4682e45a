//! The vector instructions of the build at hand, and the few operations whose form depends on it.
//!
//! Three builds share every kernel: `relaxed` (WASM relaxed SIMD: FMA and the i8 dot product),
//! `simd128` (plain WASM SIMD) and native (emulated, for tests). Integer results are the same in
//! all three; float results differ by the rounding of fused multiply-adds.

#[cfg(target_arch = "wasm32")]
pub use core::arch::wasm32::*;

#[cfg(not(target_arch = "wasm32"))]
pub use crate::simd_emulated::*;

/// a * b + c per f32 lane: fused in the relaxed build where the CPU has FMA, else rounded twice.
#[inline(always)]
pub fn madd(a: v128, b: v128, c: v128) -> v128 {
    #[cfg(any(target_feature = "relaxed-simd", not(target_arch = "wasm32")))]
    return f32x4_relaxed_madd(a, b, c);
    #[cfg(all(target_arch = "wasm32", not(target_feature = "relaxed-simd")))]
    return f32x4_add(f32x4_mul(a, b), c);
}

/// The i16 sums of neighbouring products of i8 `a` with `b` in 0..=127 (7 bits: the one case that
/// relaxed SIMD defines fully).
#[inline(always)]
pub fn dot_i7(a: v128, b: v128) -> v128 {
    #[cfg(any(target_feature = "relaxed-simd", not(target_arch = "wasm32")))]
    return i16x8_relaxed_dot_i8x16_i7x16(a, b);
    #[cfg(all(target_arch = "wasm32", not(target_feature = "relaxed-simd")))]
    {
        let even = i16x8_mul(i16x8_shr(i16x8_shl(a, 8), 8), v128_and(b, i16x8_splat(0xff)));
        let odd = i16x8_mul(i16x8_shr(a, 8), u16x8_shr(b, 8));
        i16x8_add(even, odd)
    }
}

/// `sum` plus the i32 sums of four neighbouring products of i8 `a` with `b` in 0..=127.
#[inline(always)]
pub fn dot_i7_i32(a: v128, b: v128, sum: v128) -> v128 {
    #[cfg(any(target_feature = "relaxed-simd", not(target_arch = "wasm32")))]
    return i32x4_relaxed_dot_i8x16_i7x16_add(a, b, sum);
    #[cfg(all(target_arch = "wasm32", not(target_feature = "relaxed-simd")))]
    return i32x4_add(sum, i32x4_dot_i16x8(dot_i7(a, b), i16x8_splat(1)));
}

/// How `dot_i7_i32` takes bytes above 127 as `b`, where it is exact with them: `dot_i8_i32` then.
pub enum ByteDot {
    Signed,
    Unsigned,
}

/// Relaxed SIMD leaves it to the CPU: with AVX-VNNI and on Arm `dot_i7_i32` is one instruction,
/// which is exact for all bytes; elsewhere it is put together of others, and saturates.
#[inline(always)]
pub fn byte_dot() -> Option<ByteDot> {
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    {
        let a = opaque(i8x16_splat(127));
        let sum = i32x4_extract_lane::<0>(dot_i7_i32(a, opaque(i8x16_splat(-1)), zero()));
        if sum == 4 * 127 * 255 {
            return Some(ByteDot::Unsigned);
        }
        if sum == -4 * 127 {
            return Some(ByteDot::Signed);
        }
    }
    None
}

/// `sum` plus the i32 sums of four neighbouring products of i8 `a` with bytes `b`, which are `SIGNED`
/// or not as `byte_dot` says.
#[inline(always)]
pub fn dot_i8_i32<const SIGNED: bool>(a: v128, b: v128, sum: v128) -> v128 {
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    return dot_i7_i32(a, b, sum);
    #[cfg(not(all(target_arch = "wasm32", target_feature = "relaxed-simd")))]
    return dot_pairs::<SIGNED>(a, b, sum);
}

/// The same on every CPU, as i16 pairs.
#[inline(always)]
pub fn dot_pairs<const SIGNED: bool>(a: v128, b: v128, sum: v128) -> v128 {
    let signed = |x| [i16x8_shr(i16x8_shl(x, 8), 8), i16x8_shr(x, 8)];
    let unsigned = |x| [v128_and(x, i16x8_splat(0xff)), u16x8_shr(x, 8)];
    let (a, b) = (signed(a), if SIGNED { signed(b) } else { unsigned(b) });
    i32x4_add(i32x4_add(sum, i32x4_dot_i16x8(a[0], b[0])), i32x4_dot_i16x8(a[1], b[1]))
}

/// Byte `numbers[i]` of a table, for numbers below 16.
#[inline(always)]
pub fn lookup(table: v128, numbers: v128) -> v128 {
    #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
    return i8x16_relaxed_swizzle(table, numbers);
    #[cfg(not(all(target_arch = "wasm32", target_feature = "relaxed-simd")))]
    return i8x16_swizzle(table, numbers);
}

/// Loads 16 bytes from `p`, of any alignment.
///
/// # Safety
/// The 16 bytes at `p` are readable.
#[inline(always)]
pub unsafe fn load<T>(p: *const T) -> v128 {
    v128_load(p.cast())
}

/// Stores 16 bytes to `p`, of any alignment.
///
/// # Safety
/// The 16 bytes at `p` are writable.
#[inline(always)]
pub unsafe fn store<T>(p: *mut T, a: v128) {
    v128_store(p.cast(), a);
}

/// Loads 8 bytes from `p`, of any alignment, into both halves.
///
/// # Safety
/// The 8 bytes at `p` are readable.
#[inline(always)]
pub unsafe fn load8_twice<T>(p: *const T) -> v128 {
    v128_load64_splat(p.cast())
}

/// Four f32, all zero.
#[inline(always)]
pub fn zero() -> v128 {
    i32x4_splat(0)
}

/// `a`, and the compiler does not know what it is: it stays in a register, where V8 would make a
/// constant anew, in three instructions, at each use.
#[inline(always)]
pub fn opaque<T: Copy>(a: T) -> T {
    // SAFETY: it is a reference.
    unsafe { core::ptr::read_volatile(&a) }
}

/// (a0 + a1) + (a2 + a3).
#[inline(always)]
pub fn sum_f32(a: v128) -> f32 {
    (f32x4_extract_lane::<0>(a) + f32x4_extract_lane::<1>(a))
        + (f32x4_extract_lane::<2>(a) + f32x4_extract_lane::<3>(a))
}

/// The largest of four floats without a sign; NaN where one is NaN, which as integers is above all.
#[inline(always)]
pub fn largest_magnitude(a: v128) -> f32 {
    let a = i32x4_max(a, i32x4_shuffle::<2, 3, 0, 1>(a, a));
    f32x4_extract_lane::<0>(i32x4_max(a, i32x4_shuffle::<1, 0, 3, 2>(a, a)))
}

/// Words 0 and 1 of both.
#[inline(always)]
pub fn lower_words(a: v128, b: v128) -> v128 {
    i32x4_shuffle::<0, 1, 4, 5>(a, b)
}

/// a0 b0 a1 b1 … of the lower bytes.
#[inline(always)]
pub fn i8x16_interleave_low(a: v128, b: v128) -> v128 {
    i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b)
}

/// a8 b8 a9 b9 … of the upper bytes.
#[inline(always)]
pub fn i8x16_interleave_high(a: v128, b: v128) -> v128 {
    i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b)
}

/// a0 b0 a1 b1 … of the lower words.
#[inline(always)]
pub fn i16x8_interleave_low(a: v128, b: v128) -> v128 {
    i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b)
}

/// a4 b4 a5 b5 … of the upper words.
#[inline(always)]
pub fn i16x8_interleave_high(a: v128, b: v128) -> v128 {
    i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b)
}

/// Bytes of four vectors side by side: a0 b0 c0 d0 a1 b1 …, four vectors of a quarter each.
#[inline(always)]
pub fn i8x16_interleave_four([a, b, c, d]: [v128; 4]) -> [v128; 4] {
    let low = [i8x16_interleave_low(a, b), i8x16_interleave_low(c, d)];
    let high = [i8x16_interleave_high(a, b), i8x16_interleave_high(c, d)];
    [
        i16x8_interleave_low(low[0], low[1]),
        i16x8_interleave_high(low[0], low[1]),
        i16x8_interleave_low(high[0], high[1]),
        i16x8_interleave_high(high[0], high[1]),
    ]
}

/// Transposes a 4 x 4 matrix of 32-bit words given by rows.
#[inline(always)]
pub fn transpose([a, b, c, d]: [v128; 4]) -> [v128; 4] {
    let ab_low = i32x4_shuffle::<0, 4, 1, 5>(a, b);
    let ab_high = i32x4_shuffle::<2, 6, 3, 7>(a, b);
    let cd_low = i32x4_shuffle::<0, 4, 1, 5>(c, d);
    let cd_high = i32x4_shuffle::<2, 6, 3, 7>(c, d);
    [
        i32x4_shuffle::<0, 1, 4, 5>(ab_low, cd_low),
        i32x4_shuffle::<2, 3, 6, 7>(ab_low, cd_low),
        i32x4_shuffle::<0, 1, 4, 5>(ab_high, cd_high),
        i32x4_shuffle::<2, 3, 6, 7>(ab_high, cd_high),
    ]
}

/// The low and the high nibbles of 16 bytes.
#[inline(always)]
pub fn nibbles(both: v128) -> [v128; 2] {
    masked_nibbles(both, i8x16_splat(15))
}

/// The same; `mask` is 15 in each byte, for loops that keep it in a register.
#[inline(always)]
pub fn masked_nibbles(both: v128, mask: v128) -> [v128; 2] {
    [v128_and(both, mask), v128_and(u16x8_shr(both, 4), mask)]
}
