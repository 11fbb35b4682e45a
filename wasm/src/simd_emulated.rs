//! The WASM vector instructions that the kernels use, in plain Rust.
//!
//! It lets a native `cargo test` run the very kernels that are shipped. Semantics are those of the
//! WebAssembly specification; where relaxed SIMD leaves a choice, the fused result is taken
//! (`relaxed_madd`), and the i7 operand is checked to be one.

#![allow(non_camel_case_types)]

/// 128 bits.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct v128([u8; 16]);

macro_rules! views {
    ($($t:ident $n:literal $to:ident $from:ident;)*) => {$(
        fn $to(v: v128) -> [$t; $n] {
            // SAFETY: both sides are 16 plain bytes.
            unsafe { core::mem::transmute(v) }
        }
        fn $from(lanes: [$t; $n]) -> v128 {
            // SAFETY: both sides are 16 plain bytes.
            unsafe { core::mem::transmute(lanes) }
        }
    )*};
}

views! {
    i8 16 to_i8 from_i8;
    i16 8 to_i16 from_i16;
    u16 8 to_u16 from_u16;
    i32 4 to_i32 from_i32;
    u32 4 to_u32 from_u32;
    f32 4 f32_lanes from_f32;
    f64 2 to_f64 from_f64;
    u64 2 to_u64 from_u64;
}

#[cfg(test)]
thread_local! {
    /// How many subnormal numbers operations of f32 have met.
    pub static SUBNORMALS: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

fn to_f32(v: v128) -> [f32; 4] {
    let lanes = f32_lanes(v);
    #[cfg(test)]
    SUBNORMALS.set(SUBNORMALS.get() + lanes.iter().filter(|x| x.is_subnormal()).count());
    lanes
}

fn to_u8(v: v128) -> [u8; 16] {
    v.0
}

macro_rules! unary {
    ($($name:ident $to:ident $from:ident $f:expr;)*) => {$(
        pub fn $name(a: v128) -> v128 {
            $from($to(a).map($f))
        }
    )*};
}

macro_rules! binary {
    ($($name:ident $to:ident $from:ident $f:expr;)*) => {$(
        pub fn $name(a: v128, b: v128) -> v128 {
            let (a, b) = ($to(a), $to(b));
            $from(core::array::from_fn(|i| ($f)(a[i], b[i])))
        }
    )*};
}

macro_rules! shifts {
    ($($name:ident $to:ident $from:ident $f:expr;)*) => {$(
        pub fn $name(a: v128, amount: u32) -> v128 {
            $from($to(a).map(|x| ($f)(x, amount)))
        }
    )*};
}

macro_rules! splats {
    ($($name:ident $t:ident $n:literal $from:ident;)*) => {$(
        pub fn $name(a: $t) -> v128 {
            $from([a; $n])
        }
    )*};
}

fn mask(condition: bool) -> i32 {
    -i32::from(condition)
}

fn max_f32(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else {
        a.max(b)
    }
}

unary! {
    v128_not to_u64 from_u64 |a| !a;
    i8x16_abs to_i8 from_i8 i8::wrapping_abs;
    f32x4_abs to_f32 from_f32 f32::abs;
    f32x4_nearest to_f32 from_f32 f32::round_ties_even;
    f32x4_neg to_f32 from_f32 |a: f32| -a;
    f32x4_sqrt to_f32 from_f32 f32::sqrt;
    f64x2_abs to_f64 from_f64 f64::abs;
    f64x2_floor to_f64 from_f64 f64::floor;
}

binary! {
    v128_and to_u64 from_u64 |a, b| a & b;
    v128_andnot to_u64 from_u64 |a: u64, b: u64| a & !b;
    v128_or to_u64 from_u64 |a, b| a | b;
    v128_xor to_u64 from_u64 |a: u64, b| a ^ b;
    i8x16_add to_i8 from_i8 |a: i8, b| a.wrapping_add(b);
    i8x16_sub to_i8 from_i8 |a: i8, b| a.wrapping_sub(b);
    i16x8_add to_i16 from_i16 |a: i16, b| a.wrapping_add(b);
    i16x8_sub to_i16 from_i16 |a: i16, b| a.wrapping_sub(b);
    i16x8_mul to_i16 from_i16 |a: i16, b| a.wrapping_mul(b);
    i32x4_add to_i32 from_i32 |a: i32, b| a.wrapping_add(b);
    i32x4_max to_i32 from_i32 |a: i32, b| a.max(b);
    i32x4_sub to_i32 from_i32 |a: i32, b| a.wrapping_sub(b);
    f32x4_add to_f32 from_f32 |a: f32, b| a + b;
    f32x4_sub to_f32 from_f32 |a: f32, b| a - b;
    f32x4_mul to_f32 from_f32 |a: f32, b| a * b;
    f32x4_div to_f32 from_f32 |a: f32, b| a / b;
    f32x4_max to_f32 from_f32 max_f32;
    f32x4_pmax to_f32 from_f32 |a: f32, b| if a < b { b } else { a };
    f32x4_pmin to_f32 from_f32 |a: f32, b| if b < a { b } else { a };
    f32x4_min to_f32 from_f32 |a: f32, b: f32| -max_f32(-a, -b);
    f64x2_add to_f64 from_f64 |a: f64, b| a + b;
    f64x2_div to_f64 from_f64 |a: f64, b| a / b;
    f64x2_mul to_f64 from_f64 |a: f64, b| a * b;
    f64x2_pmax to_f64 from_f64 |a: f64, b| if a < b { b } else { a };
    f64x2_pmin to_f64 from_f64 |a: f64, b| if b < a { b } else { a };
    f64x2_sub to_f64 from_f64 |a: f64, b| a - b;
}

macro_rules! comparisons {
    ($($name:ident $to:ident $op:tt;)*) => {$(
        pub fn $name(a: v128, b: v128) -> v128 {
            let (a, b) = ($to(a), $to(b));
            from_i32(core::array::from_fn(|i| mask(a[i] $op b[i])))
        }
    )*};
}

comparisons! {
    f32x4_gt to_f32 >;
    f32x4_ge to_f32 >=;
    f32x4_lt to_f32 <;
    f32x4_le to_f32 <=;
    f32x4_ne to_f32 !=;
    i32x4_gt to_i32 >;
    i32x4_lt to_i32 <;
}

shifts! {
    i16x8_shl to_i16 from_i16 |a: i16, n| a << (n & 15);
    i16x8_shr to_i16 from_i16 |a: i16, n| a >> (n & 15);
    u16x8_shr to_u16 from_u16 |a: u16, n| a >> (n & 15);
    i32x4_shl to_i32 from_i32 |a: i32, n| a << (n & 31);
    i32x4_shr to_i32 from_i32 |a: i32, n| a >> (n & 31);
    u32x4_shr to_u32 from_u32 |a: u32, n| a >> (n & 31);
}

splats! {
    i8x16_splat i8 16 from_i8;
    i16x8_splat i16 8 from_i16;
    i32x4_splat i32 4 from_i32;
    f32x4_splat f32 4 from_f32;
    f64x2_splat f64 2 from_f64;
}

pub const fn f32x4(a: f32, b: f32, c: f32, d: f32) -> v128 {
    // SAFETY: both sides are 16 plain bytes.
    unsafe { core::mem::transmute([a, b, c, d]) }
}

pub fn v128_bitselect(a: v128, b: v128, choose_a: v128) -> v128 {
    v128_or(v128_and(a, choose_a), v128_and(b, v128_not(choose_a)))
}

pub fn u8x16_sub_sat(a: v128, b: v128) -> v128 {
    v128(core::array::from_fn(|i| a.0[i].saturating_sub(b.0[i])))
}

pub fn u8x16_max(a: v128, b: v128) -> v128 {
    v128(core::array::from_fn(|i| a.0[i].max(b.0[i])))
}

pub fn u8x16_min(a: v128, b: v128) -> v128 {
    v128(core::array::from_fn(|i| a.0[i].min(b.0[i])))
}

pub fn u8x16_add_sat(a: v128, b: v128) -> v128 {
    v128(core::array::from_fn(|i| a.0[i].saturating_add(b.0[i])))
}

pub fn v128_any_true(a: v128) -> bool {
    to_u64(a) != [0, 0]
}

pub fn i32x4_all_true(a: v128) -> bool {
    to_i32(a).into_iter().all(|lane| lane != 0)
}

pub fn i32x4_bitmask(a: v128) -> u8 {
    let a = to_i32(a);
    (0..4).map(|i| u8::from(a[i] < 0) << i).sum()
}

pub fn i16x8_narrow_i32x4(a: v128, b: v128) -> v128 {
    let (a, b) = (to_i32(a), to_i32(b));
    let narrow = |x: i32| x.clamp(-32768, 32767) as i16;
    from_i16(core::array::from_fn(|i| narrow(if i < 4 { a[i] } else { b[i - 4] })))
}

pub fn i8x16_narrow_i16x8(a: v128, b: v128) -> v128 {
    let (a, b) = (to_i16(a), to_i16(b));
    let narrow = |x: i16| x.clamp(-128, 127) as i8;
    from_i8(core::array::from_fn(|i| narrow(if i < 8 { a[i] } else { b[i - 8] })))
}

macro_rules! extensions {
    ($($name:ident $to:ident $from:ident $t:ident $offset:literal;)*) => {$(
        pub fn $name(a: v128) -> v128 {
            let a = $to(a);
            $from(core::array::from_fn(|i| a[i + $offset] as $t))
        }
    )*};
}

extensions! {
    i16x8_extend_low_i8x16 to_i8 from_i16 i16 0;
    i16x8_extend_high_i8x16 to_i8 from_i16 i16 8;
    i32x4_extend_low_i16x8 to_i16 from_i32 i32 0;
    i32x4_extend_high_i16x8 to_i16 from_i32 i32 4;
    u16x8_extend_low_u8x16 to_u8 from_u16 u16 0;
    u32x4_extend_low_u16x8 to_u16 from_u32 u32 0;
}

pub fn i16x8_extadd_pairwise_i8x16(a: v128) -> v128 {
    let a = to_i8(a);
    from_i16(core::array::from_fn(|i| i16::from(a[2 * i]) + i16::from(a[2 * i + 1])))
}

pub fn f64x2_promote_low_f32x4(a: v128) -> v128 {
    let a = to_f32(a);
    from_f64([a[0].into(), a[1].into()])
}

pub fn i32x4_dot_i16x8(a: v128, b: v128) -> v128 {
    let (a, b) = (to_i16(a), to_i16(b));
    let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
    from_i32(core::array::from_fn(|i| product(2 * i).wrapping_add(product(2 * i + 1))))
}

pub fn i16x8_relaxed_dot_i8x16_i7x16(a: v128, b: v128) -> v128 {
    let (a, b) = (to_i8(a), to_i8(b));
    assert!(b.iter().all(|&x| x >= 0), "the second operand has more than 7 bits");
    let product = |i: usize| i16::from(a[i]) * i16::from(b[i]);
    from_i16(core::array::from_fn(|i| product(2 * i) + product(2 * i + 1)))
}

pub fn i32x4_relaxed_dot_i8x16_i7x16_add(a: v128, b: v128, c: v128) -> v128 {
    let pairs = to_i16(i16x8_relaxed_dot_i8x16_i7x16(a, b));
    let c = to_i32(c);
    from_i32(core::array::from_fn(|i| c[i] + i32::from(pairs[2 * i]) + i32::from(pairs[2 * i + 1])))
}

pub fn f32x4_relaxed_madd(a: v128, b: v128, c: v128) -> v128 {
    let (a, b, c) = (to_f32(a), to_f32(b), to_f32(c));
    from_f32(core::array::from_fn(|i| a[i].mul_add(b[i], c[i])))
}

pub fn f32x4_convert_i32x4(a: v128) -> v128 {
    from_f32(to_i32(a).map(|x| x as f32))
}

pub fn i32x4_trunc_sat_f32x4(a: v128) -> v128 {
    from_i32(to_f32(a).map(|x| x as i32))
}

pub fn f32x4_extract_lane<const N: usize>(a: v128) -> f32 {
    to_f32(a)[N]
}

pub fn f64x2_extract_lane<const N: usize>(a: v128) -> f64 {
    to_f64(a)[N]
}

macro_rules! shuffles {
    ($($name:ident $n:literal $to:ident $from:ident $($lane:ident)*;)*) => {$(
        pub fn $name<$(const $lane: usize),*>(a: v128, b: v128) -> v128 {
            let (a, b) = ($to(a), $to(b));
            $from([$($lane),*].map(|i| if i < $n { a[i] } else { b[i - $n] }))
        }
    )*};
}

shuffles! {
    i8x16_shuffle 16 to_i8 from_i8 A B C D E F G H I J K L M N O P;
    i16x8_shuffle 8 to_i16 from_i16 A B C D E F G H;
    i32x4_shuffle 4 to_i32 from_i32 A B C D;
}

pub fn i8x16_swizzle(a: v128, numbers: v128) -> v128 {
    let a = to_u8(a);
    v128(to_u8(numbers).map(|n| a.get(usize::from(n)).copied().unwrap_or(0)))
}

/// # Safety
/// As for `core::ptr::read_unaligned`.
pub unsafe fn v128_load(p: *const v128) -> v128 {
    p.read_unaligned()
}

/// # Safety
/// As for `core::ptr::write_unaligned`.
pub unsafe fn v128_store(p: *mut v128, a: v128) {
    p.write_unaligned(a);
}

/// # Safety
/// Reads 4 bytes at `p`, of any alignment.
pub unsafe fn v128_load32_zero(p: *const u32) -> v128 {
    from_u32([p.read_unaligned(), 0, 0, 0])
}

/// # Safety
/// Reads 4 bytes at `p`, of any alignment.
pub unsafe fn v128_load32_splat(p: *const u32) -> v128 {
    from_u32([p.read_unaligned(); 4])
}

/// # Safety
/// Reads 8 bytes at `p`, of any alignment.
pub unsafe fn v128_load64_splat(p: *const u64) -> v128 {
    from_u64([p.read_unaligned(); 2])
}

/// # Safety
/// Reads 8 bytes at `p`.
pub unsafe fn i16x8_load_extend_u8x8(p: *const u8) -> v128 {
    from_i16(core::array::from_fn(|i| i16::from(p.add(i).read())))
}

/// # Safety
/// Reads 8 bytes at `p`, of any alignment.
pub unsafe fn i32x4_load_extend_i16x4(p: *const i16) -> v128 {
    from_i32(core::array::from_fn(|i| i32::from(p.add(i).read_unaligned())))
}
