//! How packed matrices and activations lie in memory.
//!
//! A packed row is one sequential stream, because a second stream a few KB away halves what a core
//! reads from DRAM. Block kinds (all but F32 and F16) hold groups of 128 weights = 4 blocks of 32,
//! and **lane L of a vector belongs to block L**: one vector load brings the scales of all four
//! blocks, and no scale is ever broadcast.
//!
//! - Nibble kinds, 64 bytes: vector j (0..4) has in word L the weights 4j..4j+4 of block L in its
//!   low nibbles and the weights 16+4j..16+4j+4 in its high nibbles.
//! - Byte kinds, 128 bytes: vector j (0..8) has in word L the weights 4j..4j+4 of block L, 128
//!   added to each: bytes without a sign.
//! - Kinds of 6 bits, 96 bytes: 32 is added to each weight, and the first four vectors of bytes lie
//!   in three, the last four in three more (six.rs).
//! - Then 4 scales (8 for the kinds with a scale per 16 weights: first halves of the four blocks,
//!   then second halves), then as many mins where the kind has them. w = scale * q + min; scale *
//!   (q - 8) for Q4; scale * table[q] for IQ4 to IQ1. They are f32, but f16 for Q4, Q4M and I8: the
//!   files that these hold have no finer ones. Word L of Q4M's has block L's scale in its lower
//!   half and its min in its upper half.
//! - K4 and K5 have 4 bytes of codes of scales, 4 of mins and two f32 units, of which these are
//!   products; K6 has 8 codes with signs, for first and second halves, and a unit. I6 has 4 f16
//!   scales. Kinds of 6 bits have all that before their weights.
//!
//! Where K leaves one or two blocks, the last group is a half one, of 2 blocks and half the bytes:
//! lanes 0 and 1 have what lane 0 and 1 of a group have of an even vector, lanes 2 and 3 what these
//! have of the odd one after it. Scales and mins of absent blocks are left out. K that
//! is not a multiple of 64 is padded with blocks of zero scale. Kinds from K4 on have whole groups
//! only, and K4 to K6 such as lie in one block of the file, whose unit is theirs. F32 and F16 rows are padded with
//! zeros to a multiple of 8. Those of F32 are plain.
//!
//! A row of F16 begins with `F16_HEAD` bytes, of which the first 4 are its scale, an f32: a power
//! of two, with which a weight is scale * half. The largest half is in [2^15, 2^16). So a subnormal
//! half, which WASM widens to a subnormal f32, for which some CPUs take a hundred cycles a product,
//! occurs only in rows with a weight of 2^6 or more. Word L of eight halves has number L in its
//! lower half and number L + 4 in its upper half, so that one load widens to two vectors. Rows of Q4
//! and Q4M begin with such a scale of the scales and mins of their blocks.

pub const BLOCK: usize = 32;
pub const GROUP: usize = 128;
/// Weights of a half group.
pub const HALF: usize = 64;

pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q4: u32 = 2;
/// With mins, both in f16.
pub const Q4M: u32 = 3;
/// With mins, both in f32.
pub const Q4K: u32 = 4;
/// Nibbles that number a table of 16 integers (table.rs), which each kind has its own of.
pub const IQ4: u32 = 5;
pub const FP4: u32 = 6;
pub const IQ3: u32 = 7;
pub const IQ3S: u32 = 8;
pub const IQ2: u32 = 9;
pub const IQ1: u32 = 10;
pub const I8: u32 = 11;
pub const I8M: u32 = 12;
pub const I8H: u32 = 13;
pub const I8HM: u32 = 14;
/// Of Q4_K, nibbles; of Q5_K, integers of 6 bits; of Q6_K, these with a scale per 16.
pub const K4: u32 = 15;
pub const K5: u32 = 16;
pub const K6: u32 = 17;
/// Integers of 6 bits.
pub const I6: u32 = 18;

/// Bytes of a group's quantised weights.
pub const NIBBLES: usize = 64;
pub const SEXTETS: usize = 96;
pub const BYTES: usize = 128;

/// Bytes before the halves of an F16 row: vectors stay aligned.
pub const F16_HEAD: usize = 16;

/// Bytes before the groups of a row.
pub const fn head_bytes(kind: u32) -> usize {
    match kind {
        Q4 | Q4M => 8,
        _ => 0,
    }
}

/// An activation group: 128 activations quantised per block of 32 to i8 (x = scale * q, scale =
/// amax / 127, so |error| <= amax / 254). Those of a half group lie as its weights do, in the first
/// of as many bytes. The sums serve mins and what is added to weights so that they have no sign.
pub mod activation {
    /// 128 i8, of which vector j has in word L the activations 4j..4j+4 of block L.
    pub const BYTES: usize = 0;
    /// 8 i16, two for each block: -8 times the sums of its i8 whose products with nibbles are added
    /// up in that lane.
    pub const OFFSETS: usize = 128;
    /// 4 f32: the scales times `ENLARGE`, for weights whose scales are f16.
    pub const LARGE_SCALES: usize = 144;
    /// 4 f32: the sums times `ENLARGE`.
    pub const LARGE_SUMS: usize = 160;
    /// 4 f32 scales.
    pub const SCALES: usize = 176;
    /// 4 f32: scale times the sum of the block's i8, in a half group of those in that lane.
    pub const SUMS: usize = 192;
    /// 8 i16, two for each block: the sums of the i8 of its first and its second half.
    pub const HALF_SUMS: usize = 208;
    pub const GROUP_BYTES: usize = 224;
}

/// Number of whole groups of a row of `k` weights.
pub const fn groups(k: usize) -> usize {
    (k + HALF - 1) / GROUP
}

/// Whether a half group follows them.
pub const fn has_half(k: usize) -> bool {
    k > groups(k) * GROUP
}

/// Bytes of the nibbles of a row of `k` weights.
pub const fn nibble_bytes(k: usize) -> usize {
    (2 * groups(k) + has_half(k) as usize) * (NIBBLES / 2)
}

/// Bytes of one group of a block kind; 0 for other kinds.
pub const fn group_bytes(kind: u32) -> usize {
    match kind {
        Q4 => NIBBLES + 8,
        Q4M => NIBBLES + 16,
        Q4K => NIBBLES + 32,
        IQ4..=IQ1 => NIBBLES + 16,
        I8 => BYTES + 8,
        I8M | I8H => BYTES + 32,
        I8HM => BYTES + 64,
        K4 => NIBBLES + 16,
        K5 => SEXTETS + 16,
        K6 => SEXTETS + 12,
        I6 => SEXTETS + 8,
        _ => 0,
    }
}

/// Bytes of a packed row of `k` weights, a multiple of 4; 0 for an unknown kind.
#[no_mangle]
pub extern "C" fn packed_row_bytes(kind: u32, k: usize) -> usize {
    match kind {
        F32 => k.next_multiple_of(8) * 4,
        F16 => F16_HEAD + k.next_multiple_of(8) * 2,
        _ => head_bytes(kind) + (2 * groups(k) + has_half(k) as usize) * group_bytes(kind) / 2,
    }
}

/// Bytes of a row of `k` quantised activations, a multiple of 16.
#[no_mangle]
pub extern "C" fn activation_row_bytes(k: usize) -> usize {
    k.div_ceil(GROUP) * activation::GROUP_BYTES
}
