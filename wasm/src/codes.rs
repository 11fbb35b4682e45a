//! ggml's types whose weights are nibbles that number a table of 16 integers, and those with one or
//! two bits a weight, or digits of base 3. (`src/formats/ggml/read_tables.ts` is the same.)

use crate::ggml::{half, integers, Block, IQ4_NL, IQ4_XS};
use crate::layout::{FP4, IQ4};
use crate::simd::*;
use crate::table::Table;

/// The scale of 32 weights of IQ4_NL, IQ4_XS or MXFP4, and where their 16 bytes of nibbles are:
/// byte i has weight i in its low nibble, weight 16 + i in its high one.
///
/// # Safety
/// `block` is a whole one of its type, `part` below 8 for IQ4_XS, else 0.
#[inline(always)]
pub unsafe fn numbers<const TYPE: u32>(block: *const u8, part: usize) -> (f32, *const u8) {
    match TYPE {
        IQ4_NL => (half(block), block.add(2)),
        IQ4_XS => {
            let low = block.add(4 + part / 2).read() >> (part % 2 * 4) & 15;
            let high = block.add(2).cast::<u16>().read_unaligned() >> (2 * part) & 3;
            let scale = f32::from(i16::from(low) + 16 * high as i16 - 32);
            (half(block) * scale, block.add(8 + 16 * part))
        }
        // MXFP4: the exponent of a power of two, of which half is taken: the table has each number
        // twice as large. 2^-128 and 2^-127 are subnormal, which costs some CPUs a hundred cycles a
        // product: blocks of zeros, which have them, take 0. 255 is NaN.
        _ => {
            let (exponent, bytes) = (u32::from(block.read()), block.add(1));
            let has_weights = || v128_any_true(v128_and(load(bytes), i8x16_splat(0x77)));
            let bits = match exponent {
                0..2 if has_weights() => 0x20_0000 << exponent,
                0..2 => 0,
                255 => f32::NAN.to_bits(),
                _ => (exponent - 1) << 23,
            };
            (f32::from_bits(bits), bytes)
        }
    }
}

/// # Safety
/// As for `numbers`.
pub unsafe fn table_block<const TYPE: u32>(block: *const u8, part: usize) -> Block {
    let (scale, bytes) = numbers::<TYPE>(block, part);
    let table = if TYPE == IQ4_NL || TYPE == IQ4_XS { Table::of(IQ4) } else { Table::of(FP4) };
    let mut q = [0; 32];
    for (half, numbers) in nibbles(load(bytes)).into_iter().enumerate() {
        store(q.as_mut_ptr().add(16 * half), lookup(load(table.values.as_ptr()), numbers));
    }
    Block { q, scale: [scale; 2], min: [0.0; 2] }
}

/// NVFP4: 4 scales in UE4M3, then 4 times 8 bytes of nibbles, weights j and j + 8.
///
/// # Safety
/// `block` is a whole one, `part` below 2.
pub unsafe fn nvfp4(block: *const u8, part: usize) -> Block {
    let q = integers(|i| {
        let byte = block.add(4 + 16 * part + i / 16 * 8 + i % 8).read();
        i32::from(Table::of(FP4).values[usize::from(byte >> (i % 16 / 8 * 4) & 15)])
    });
    let scale = [0, 1].map(|h| ue4m3(block.add(2 * part + h).read()) / 2.0);
    Block { q, scale, min: [0.0; 2] }
}

/// A number without a sign, of 4 bits of exponent and 3 of mantissa; NaN is 0, as in ggml.
fn ue4m3(code: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(code >> 3 & 15), f32::from(code & 7));
    let power = |exponent: u32| f32::from_bits((127 - 10 + exponent) << 23);
    match (code, exponent) {
        (0x7f, _) => 0.0,
        (_, 0) => mantissa * power(1),
        _ => (8.0 + mantissa) * power(exponent),
    }
}

/// TQ1_0: 48 bytes of 5 digits, 4 of 4 digits, d. Of the first 32 bytes, the next 16 and the last 4
/// come all first digits, all second ones, and so on.
///
/// # Safety
/// `block` is a whole one, `part` below 8.
pub unsafe fn tq1_0(block: *const u8, part: usize) -> Block {
    let q = integers(|i| {
        let i = 32 * part + i;
        let (byte, digit) = match i {
            0..160 => (i % 32, i / 32),
            160..240 => (32 + i % 16, (i - 160) / 16),
            _ => (48 + i % 4, (i - 240) / 4),
        };
        let fraction = block.add(byte).read().wrapping_mul([1, 3, 9, 27, 81][digit]);
        ((i32::from(fraction) * 3) >> 8) - 1
    });
    Block { q, scale: [half(block.add(52)); 2], min: [0.0; 2] }
}

/// TQ2_0: 64 bytes of 2-bit weights, d. A 2-bit plane of 32 bytes is one part.
///
/// # Safety
/// `block` is a whole one, `part` below 8.
pub unsafe fn tq2_0(block: *const u8, part: usize) -> Block {
    let plane = block.add(part / 4 * 32);
    let q = integers(|i| i32::from(plane.add(i).read() >> (part % 4 * 2) & 3) - 1);
    Block { q, scale: [half(block.add(64)); 2], min: [0.0; 2] }
}

/// Q1_0 (`BITS` 1) and Q2_0 (2): d, then weights of so many bits: -1 or 1, and -1 to 2.
///
/// # Safety
/// `block` is a whole one, `part` one of its parts.
pub unsafe fn bits<const BITS: usize>(block: *const u8, part: usize) -> Block {
    let first = block.add(2 + 4 * BITS * part);
    let q = integers(|i| {
        let code = i32::from(first.add(i * BITS / 8).read() >> (i * BITS % 8)) & ((1 << BITS) - 1);
        if BITS == 1 {
            2 * code - 1
        } else {
            code - 1
        }
    });
    Block { q, scale: [half(block); 2], min: [0.0; 2] }
}
