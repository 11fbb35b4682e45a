//! Where the caller's memory begins, and the plain read that a kernel's bandwidth is compared with.

use crate::simd::*;

/// The first byte after the module's own data and stack.
#[cfg(target_arch = "wasm32")]
#[no_mangle]
pub extern "C" fn heap_base() -> usize {
    extern "C" {
        static __heap_base: u8;
    }
    &raw const __heap_base as usize
}

/// The wrapping sum of the 32-bit words of `length` bytes (rounded down to 64).
///
/// # Safety
/// `length` bytes at `p` are readable.
#[no_mangle]
pub unsafe extern "C" fn read_bytes(p: *const u8, length: usize) -> u32 {
    let mut sums = [zero(); 4];
    for line in 0..length / 64 {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = i32x4_add(*sum, load(p.wrapping_add(64 * line + 16 * i)));
        }
    }
    let sum = i32x4_add(i32x4_add(sums[0], sums[1]), i32x4_add(sums[2], sums[3]));
    let mut lanes = [0u32; 4];
    store(lanes.as_mut_ptr(), sum);
    lanes.iter().fold(0, |a, &b| a.wrapping_add(b))
}
