//! ggml's block types: 32 weights of any of them as small integers with scales and mins.
//!
//! Each weight is `scale * q + min` in f32 with an exact product, which is also how ggml
//! dequantises: the value is the same to the bit.

use crate::codes::{bits, nvfp4, table_block, tq1_0, tq2_0};
use crate::f16::f16_to_f32;
use crate::grids::{iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs};
use crate::layout::BLOCK;
use crate::simd::*;

pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q4_0: u32 = 2;
pub const Q4_1: u32 = 3;
pub const Q5_0: u32 = 6;
pub const Q5_1: u32 = 7;
pub const Q8_0: u32 = 8;
pub const Q2_K: u32 = 10;
pub const Q3_K: u32 = 11;
pub const Q4_K: u32 = 12;
pub const Q5_K: u32 = 13;
pub const Q6_K: u32 = 14;
pub const IQ2_XXS: u32 = 16;
pub const IQ2_XS: u32 = 17;
pub const IQ3_XXS: u32 = 18;
pub const IQ1_S: u32 = 19;
pub const IQ4_NL: u32 = 20;
pub const IQ3_S: u32 = 21;
pub const IQ2_S: u32 = 22;
pub const IQ4_XS: u32 = 23;
pub const IQ1_M: u32 = 29;
pub const BF16: u32 = 30;
pub const TQ1_0: u32 = 34;
pub const TQ2_0: u32 = 35;
pub const MXFP4: u32 = 39;
pub const NVFP4: u32 = 40;
pub const Q1_0: u32 = 41;
pub const Q2_0: u32 = 42;

/// 32 weights: w[i] = scale[i / 16] * q[i] + min[i / 16].
#[derive(Clone, Copy)]
pub struct Block {
    pub q: [i8; 32],
    pub scale: [f32; 2],
    pub min: [f32; 2],
}

impl Block {
    pub const ZERO: Block = Block { q: [0; 32], scale: [0.0; 2], min: [0.0; 2] };

    /// The value of weight `i`.
    #[inline(always)]
    pub fn value(&self, i: usize) -> f32 {
        let product = self.scale[i / 16] * f32::from(self.q[i]);
        // Adding a min of zero would turn -0 into +0.
        if self.min[i / 16] == 0.0 {
            product
        } else {
            product + self.min[i / 16]
        }
    }
}

/// Bytes of one block of the file and weights in it; `None` for types without blocks.
pub const fn block_size(ggml_type: u32) -> Option<(usize, usize)> {
    Some(match ggml_type {
        Q4_0 => (18, 32),
        Q4_1 => (20, 32),
        Q5_0 => (22, 32),
        Q5_1 => (24, 32),
        Q8_0 => (34, 32),
        Q2_K => (84, 256),
        Q3_K => (110, 256),
        Q4_K => (144, 256),
        Q5_K => (176, 256),
        Q6_K => (210, 256),
        IQ4_NL => (18, 32),
        IQ4_XS => (136, 256),
        MXFP4 => (17, 32),
        NVFP4 => (36, 64),
        TQ1_0 => (54, 256),
        TQ2_0 => (66, 256),
        Q1_0 => (18, 128),
        Q2_0 => (18, 64),
        IQ1_S => (50, 256),
        IQ1_M => (56, 256),
        IQ2_XXS => (66, 256),
        IQ2_XS => (74, 256),
        IQ2_S => (82, 256),
        IQ3_XXS => (98, 256),
        IQ3_S => (110, 256),
        _ => return None,
    })
}

/// Reads weights `32 * index ..` of a row of `TYPE` starting at `row`.
///
/// # Safety
/// The file's block that holds those weights is readable.
#[inline(always)]
pub unsafe fn read_block<const TYPE: u32>(row: *const u8, index: usize) -> Block {
    let (block, part) = block_at(TYPE, row, index);
    match TYPE {
        Q4_0 => legacy(block, -8, None, 2),
        Q4_1 => legacy(block, 0, None, 4),
        Q5_0 => legacy(block, -16, Some(2), 6),
        Q5_1 => legacy(block, 0, Some(4), 8),
        Q8_0 => q8_0(block),
        Q2_K => q2_k(block, part),
        Q3_K => q3_k(block, part),
        Q4_K => q4_k(block, part),
        Q5_K => q5_k(block, part),
        Q6_K => q6_k(block, part),
        IQ4_NL => table_block::<IQ4_NL>(block, part),
        IQ4_XS => table_block::<IQ4_XS>(block, part),
        MXFP4 => table_block::<MXFP4>(block, part),
        _ => Block::ZERO,
    }
}

/// The same of a type that is known when it runs: those whose blocks take longer to read than to
/// tell apart.
///
/// # Safety
/// As for `read_block`.
#[inline(never)]
pub unsafe fn read_other(ggml_type: u32, row: *const u8, index: usize) -> Block {
    let (block, part) = block_at(ggml_type, row, index);
    match ggml_type {
        NVFP4 => nvfp4(block, part),
        TQ1_0 => tq1_0(block, part),
        TQ2_0 => tq2_0(block, part),
        Q1_0 => bits::<1>(block, part),
        Q2_0 => bits::<2>(block, part),
        IQ1_S => iq1_s(block, part),
        IQ1_M => iq1_m(block, part),
        IQ2_XXS => iq2_xxs(block, part),
        IQ2_XS => iq2_xs(block, part),
        IQ2_S => iq2_s(block, part),
        IQ3_XXS => iq3_xxs(block, part),
        _ => iq3_s(block, part),
    }
}

/// The block that holds weights `32 * index ..` of a row, and which 32 of it they are.
#[inline(always)]
pub fn block_at(ggml_type: u32, row: *const u8, index: usize) -> (*const u8, usize) {
    let (bytes, weights) = block_size(ggml_type).unwrap_or((0, BLOCK));
    let per_block = weights / BLOCK;
    (row.wrapping_add(index / per_block * bytes), index % per_block)
}

/// # Safety
/// The two bytes at `p` are readable.
#[inline(always)]
pub unsafe fn half(p: *const u8) -> f32 {
    f16_to_f32(p.cast::<u16>().read_unaligned())
}

#[inline(always)]
pub fn integers(f: impl Fn(usize) -> i32) -> [i8; 32] {
    core::array::from_fn(|i| f(i) as i8)
}

/// Q4_0, Q4_1, Q5_0, Q5_1: a scale, a min where there is no `offset`, the fifth bits at `high`
/// where there are any, nibbles at `low`. Nibble i of the low half is weight i, of the high half
/// weight 16 + i.
///
/// # Safety
/// `block` is a whole one of its type.
#[inline(always)]
unsafe fn legacy(block: *const u8, offset: i8, high: Option<usize>, low: usize) -> Block {
    let mut q = [0; 32];
    for (half, quads) in nibbles(load(block.add(low))).into_iter().enumerate() {
        store(q.as_mut_ptr().add(16 * half), i8x16_add(quads, i8x16_splat(offset)));
    }
    if let Some(high) = high {
        let fifth = block.add(high).cast::<u32>().read_unaligned();
        q = integers(|i| i32::from(q[i]) + ((fifth >> i & 1) << 4) as i32);
    }
    let min = if offset != 0 { 0.0 } else { half(block.add(2)) };
    Block { q, scale: [half(block); 2], min: [min; 2] }
}

/// # Safety
/// `block` is a whole one.
#[inline(always)]
unsafe fn q8_0(block: *const u8) -> Block {
    let q = integers(|i| i32::from(block.add(2 + i).cast::<i8>().read()));
    Block { q, scale: [half(block); 2], min: [0.0; 2] }
}

/// 16 scale/min nibbles, 64 bytes of 2-bit weights, d, dmin. A 2-bit plane of 32 bytes is one part.
///
/// # Safety
/// `block` is a whole one, `part` below 8.
#[inline(always)]
unsafe fn q2_k(block: *const u8, part: usize) -> Block {
    let (d, dmin) = (half(block.add(80)), half(block.add(82)));
    let plane = block.add(16 + part / 4 * 32);
    let q = integers(|i| i32::from(plane.add(i).read() >> (part % 4 * 2) & 3));
    let code = [0, 1].map(|h| block.add(2 * part + h).read());
    Block {
        q,
        scale: code.map(|c| d * f32::from(c & 15)),
        min: code.map(|c| -(dmin * f32::from(c >> 4))),
    }
}

/// What the scales and mins of 32 weights of a K-quant are made of: of its halves, scale = unit *
/// code, and for all, min = `min_unit` * `min`.
pub struct Codes {
    pub unit: f32,
    pub scale: [i8; 2],
    pub min_unit: f32,
    pub min: u8,
}

impl Codes {
    #[inline(always)]
    fn block(&self, q: [i8; 32]) -> Block {
        let scale = self.scale.map(|code| self.unit * f32::from(code));
        Block { q, scale, min: [self.min_unit * f32::from(self.min); 2] }
    }
}

/// The codes of weights `32 * index ..` of a row of Q3_K, Q4_K, Q5_K or Q6_K.
///
/// # Safety
/// As for `read_block`.
#[inline(always)]
pub unsafe fn read_codes<const TYPE: u32>(row: *const u8, index: usize) -> Codes {
    let (block, part) = block_at(TYPE, row, index);
    match TYPE {
        Q3_K => q3_codes(block, part),
        Q6_K => q6_codes(block, part),
        _ => k_codes(block, part),
    }
}

/// # Safety
/// `block` is a whole one of Q3_K, `part` below 8.
#[inline(always)]
unsafe fn q3_codes(block: *const u8, part: usize) -> Codes {
    let scales = block.add(96);
    let scale = [0, 1].map(|h| {
        let i = 2 * part + h;
        let low = scales.add(i % 8).read() >> (i / 8 * 4) & 15;
        let high = scales.add(8 + i % 4).read() >> (i / 4 * 2) & 3;
        (low | high << 4) as i8 - 32
    });
    Codes { unit: half(block.add(108)), scale, min_unit: 0.0, min: 0 }
}

/// 32 bytes of third bits (bit `part` of byte i belongs to weight i of the part), 64 bytes of 2-bit
/// weights, 12 bytes of 6-bit scales, d.
///
/// # Safety
/// `block` is a whole one, `part` below 8.
#[inline(always)]
unsafe fn q3_k(block: *const u8, part: usize) -> Block {
    let plane = block.add(32 + part / 4 * 32);
    let q = integers(|i| {
        let low = i32::from(plane.add(i).read() >> (part % 4 * 2) & 3);
        let high = i32::from(block.add(i).read() >> part & 1);
        low + 4 * high - 4
    });
    q3_codes(block, part).block(q)
}

/// The 6-bit scale and min of `part` (the header that Q4_K and Q5_K share). dmin is negated.
///
/// # Safety
/// `block` is a whole one of Q4_K or Q5_K, `part` below 8.
#[inline(always)]
unsafe fn k_codes(block: *const u8, part: usize) -> Codes {
    let code = |i: usize| block.add(4 + i).read();
    let (scale, min) = if part < 4 {
        (code(part) & 63, code(part + 4) & 63)
    } else {
        (code(part + 4) & 15 | code(part - 4) >> 6 << 4, code(part + 4) >> 4 | code(part) >> 6 << 4)
    };
    Codes { unit: half(block), scale: [scale as i8; 2], min_unit: -half(block.add(2)), min }
}

/// d, dmin, 12 bytes of scales and mins, 128 bytes of nibbles: 32 bytes are two parts.
///
/// # Safety
/// `block` is a whole one, `part` below 8.
#[inline(always)]
unsafe fn q4_k(block: *const u8, part: usize) -> Block {
    let plane = block.add(16 + part / 2 * 32);
    let mut q = [0; 32];
    for half in 0..2 {
        let both = load(plane.add(16 * half));
        store(q.as_mut_ptr().add(16 * half), nibbles(both)[part % 2]);
    }
    k_codes(block, part).block(q)
}

/// As Q4_K, with 32 bytes of fifth bits before the nibbles (bit `part` of byte i).
///
/// # Safety
/// `block` is a whole one, `part` below 8.
#[inline(always)]
unsafe fn q5_k(block: *const u8, part: usize) -> Block {
    let plane = block.add(48 + part / 2 * 32);
    let q = integers(|i| {
        let low = plane.add(i).read() >> (part % 2 * 4) & 15;
        let high = block.add(16 + i).read() >> part & 1;
        i32::from(low | high << 4)
    });
    k_codes(block, part).block(q)
}

/// # Safety
/// `block` is a whole one of Q6_K, `part` below 8.
#[inline(always)]
unsafe fn q6_codes(block: *const u8, part: usize) -> Codes {
    let scale = [0, 1].map(|h| block.add(192 + 2 * part + h).cast::<i8>().read());
    Codes { unit: half(block.add(208)), scale, min_unit: 0.0, min: 0 }
}

/// 128 bytes of low nibbles, 64 of 2-bit high parts, 16 i8 scales, d.
///
/// # Safety
/// `block` is a whole one, `part` below 8.
#[inline(always)]
unsafe fn q6_k(block: *const u8, part: usize) -> Block {
    let (side, quarter) = (part / 4, part % 4);
    let low_plane = block.add(side * 64 + quarter % 2 * 32);
    let high_plane = block.add(128 + side * 32);
    let q = integers(|i| {
        let low = low_plane.add(i).read() >> (quarter / 2 * 4) & 15;
        let high = high_plane.add(i).read() >> (quarter * 2) & 3;
        i32::from(low | high << 4) - 32
    });
    q6_codes(block, part).block(q)
}
