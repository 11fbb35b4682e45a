//! From ggml's blocks to packed rows (see layout.rs), and back to f32.
//!
//! Packing never changes a weight's value: each ggml type goes to the one kind that holds it
//! exactly, or to F32 as dequantised.

use crate::codes::numbers;
use crate::f16::{f16_to_f32, f32_to_f16, half_of, scale8_f16, HALF_BITS};
use crate::ggml::{self, block_at, read_block, read_codes, read_other, Block};
use crate::layout::*;
use crate::q4::k_scales;
use crate::simd::*;
use crate::six::{bytes_kind, head_bytes as six_head_bytes, pack_four, to_bytes};
use crate::table::Table;

/// The packed kind that holds whole groups of a ggml type exactly; `None` for a type that is not
/// supported.
pub const fn exact_kind(ggml_type: u32) -> Option<u32> {
    Some(match ggml_type {
        ggml::F32 | ggml::BF16 => F32,
        ggml::F16 => F16,
        ggml::Q4_0 | ggml::TQ1_0 | ggml::TQ2_0 | ggml::Q1_0 | ggml::Q2_0 => Q4,
        ggml::Q4_1 => Q4M,
        ggml::Q4_K => K4,
        ggml::Q5_K => K5,
        ggml::Q6_K | ggml::Q3_K => K6,
        ggml::Q5_0 => I6,
        ggml::Q5_1 => I8M,
        ggml::Q8_0 => I8,
        ggml::IQ4_NL | ggml::IQ4_XS => IQ4,
        ggml::MXFP4 => FP4,
        ggml::IQ3_XXS => IQ3,
        ggml::IQ3_S => IQ3S,
        ggml::IQ2_XXS => IQ2,
        ggml::IQ1_S => IQ1,
        ggml::IQ2_XS | ggml::IQ2_S | ggml::IQ1_M | ggml::NVFP4 => I8H,
        ggml::Q2_K => I8HM,
        _ => return None,
    })
}

/// The kind that holds the same weights where groups are not whole.
const fn loose_kind(kind: u32) -> u32 {
    match kind {
        K4 => Q4K,
        K5..=I6 => bytes_kind(kind),
        _ => kind,
    }
}

/// Whether a kind has the columns from `first_col` on, to which the parts of a K-quant's blocks and
/// whole groups belong alone.
const fn has_columns(kind: u32, first_col: usize, k: usize) -> bool {
    kind < K4 || k.is_multiple_of(GROUP) && (kind > K6 || first_col.is_multiple_of(GROUP))
}

/// Packs columns `first_col..first_col + k` of `n_rows` ggml rows. Returns the rows written, of which
/// all weights are finite: those before the first that has others, which kernels may take for
/// numbers, and 0 where `kind` is neither the type's exact kind nor F32.
///
/// # Safety
/// `src` has `n_rows` rows of the type, `src_row_bytes` apart, with those columns; both bounds are
/// multiples of 32 for block types. `dst` has room for `n_rows` packed rows, `dst_row_bytes` (at
/// least `packed_row_bytes(kind, k)`) apart.
#[no_mangle]
pub unsafe extern "C" fn repack(
    ggml_type: u32,
    kind: u32,
    src: *const u8,
    n_rows: usize,
    src_row_bytes: usize,
    first_col: usize,
    k: usize,
    dst: *mut u8,
    dst_row_bytes: usize,
) -> usize {
    let holds = |exact| kind == exact || kind == loose_kind(exact) || kind == F32;
    if !exact_kind(ggml_type).is_some_and(holds) || !has_columns(kind, first_col, k) {
        return 0;
    }
    for r in 0..n_rows {
        let from = src.wrapping_add(r * src_row_bytes);
        let to = dst.wrapping_add(r * dst_row_bytes);
        let is_finite = match ggml_type {
            ggml::F32 => {
                widen_row(from.cast::<u32>().wrapping_add(first_col), k, to, f32::from_bits)
            }
            ggml::BF16 => widen_row(from.cast::<u16>().wrapping_add(first_col), k, to, |bits| {
                f32::from_bits(u32::from(bits) << 16)
            }),
            ggml::F16 => {
                let from = from.cast::<u16>().wrapping_add(first_col);
                if kind == F32 {
                    widen_row(from, k, to, f16_to_f32)
                } else {
                    pack_f16_row(from, k, to)
                }
            }
            ggml::Q4_0 => block_row::<{ ggml::Q4_0 }>(kind, from, first_col, k, to),
            ggml::Q4_1 => block_row::<{ ggml::Q4_1 }>(kind, from, first_col, k, to),
            ggml::Q5_0 => block_row::<{ ggml::Q5_0 }>(kind, from, first_col, k, to),
            ggml::Q5_1 => block_row::<{ ggml::Q5_1 }>(kind, from, first_col, k, to),
            ggml::Q8_0 => block_row::<{ ggml::Q8_0 }>(kind, from, first_col, k, to),
            ggml::Q2_K => block_row::<{ ggml::Q2_K }>(kind, from, first_col, k, to),
            ggml::Q3_K => block_row::<{ ggml::Q3_K }>(kind, from, first_col, k, to),
            ggml::Q4_K => block_row::<{ ggml::Q4_K }>(kind, from, first_col, k, to),
            ggml::Q5_K => block_row::<{ ggml::Q5_K }>(kind, from, first_col, k, to),
            ggml::Q6_K => block_row::<{ ggml::Q6_K }>(kind, from, first_col, k, to),
            ggml::IQ4_NL => block_row::<{ ggml::IQ4_NL }>(kind, from, first_col, k, to),
            ggml::IQ4_XS => block_row::<{ ggml::IQ4_XS }>(kind, from, first_col, k, to),
            ggml::MXFP4 => block_row::<{ ggml::MXFP4 }>(kind, from, first_col, k, to),
            _ => {
                let read = |index| read_other(ggml_type, from, index);
                put_blocks(kind, 0, first_col / BLOCK, k, to, read)
            }
        };
        if !is_finite {
            return r;
        }
    }
    n_rows
}

/// Multiplies the scales and mins of a row of Q4 or Q4M by the power of two that brings the largest
/// to [2^15, 2^16), exactly, and writes the row's head.
///
/// # Safety
/// `row` is a packed row of `k` weights, but for its head.
unsafe fn write_head(kind: u32, k: usize, row: *mut u8) {
    let each = |f: &mut dyn FnMut(*mut u16)| {
        for g in 0..groups(k) + usize::from(has_half(k)) {
            let lanes = if g < groups(k) { 4 } else { 2 };
            let group = row.add(head_bytes(kind) + g * group_bytes(kind));
            let halves = group.add(scales_at(kind, lanes)).cast::<u16>();
            for i in 0..if kind == Q4 { lanes } else { 2 * lanes } {
                f(halves.add(i));
            }
        }
    };
    let mut largest = 0;
    each(&mut |half| largest = largest.max(half.read_unaligned() & 0x7fff));
    let up = exponent_up(largest);
    row.cast::<f32>().write_unaligned(power_of_two(-up));
    each(&mut |half| {
        let bits = half.read_unaligned();
        half.write_unaligned(if bits & 0x7c00 == 0 {
            f32_to_f16(f16_to_f32(bits) * power_of_two(up))
        } else {
            bits + ((up as u16) << 10)
        });
    });
}

/// By which power of two a row's halves are multiplied so that the `largest` becomes one of
/// [2^15, 2^16): none loses bits. The least half is 2^-24. A row with an infinity or NaN, which is
/// refused, stays as it is.
fn exponent_up(largest: u16) -> i32 {
    let exponent = (f16_to_f32(largest).to_bits() >> 23) as i32 - 127;
    15 - exponent.clamp(-24, 15)
}

fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((127 + exponent) << 23) as u32)
}

/// # Safety
/// `src` has `k` values, `dst` a packed row of F32.
unsafe fn widen_row<T>(src: *const T, k: usize, dst: *mut u8, value: impl Fn(T) -> f32) -> bool {
    let row = dst.cast::<f32>();
    for i in 0..k {
        row.add(i).write(value(src.add(i).read_unaligned()));
    }
    for i in k..k.next_multiple_of(8) {
        row.add(i).write(0.0);
    }
    is_finite(row, k.next_multiple_of(8))
}

/// Whether `n` floats, a multiple of 4, are finite.
///
/// # Safety
/// There are so many at `x`.
unsafe fn is_finite(x: *const f32, n: usize) -> bool {
    let largest = (0..n).step_by(4).fold(zero(), |most, i| larger(most, load(x.add(i))));
    largest_magnitude(largest).is_finite()
}

/// By lane, the larger of a magnitude and that of x: as integers, which order them as they are, with
/// infinity above all numbers and NaN above it.
#[inline(always)]
fn larger(magnitude: v128, x: v128) -> v128 {
    i32x4_max(magnitude, f32x4_abs(x))
}

/// A row of halves behind its scale. Multiplied by a power of two, the largest becomes a half of
/// [2^15, 2^16), and none loses bits. Returns whether all are finite.
///
/// # Safety
/// `src` has `k` halves, `dst` a packed row of F16.
unsafe fn pack_f16_row(src: *const u16, k: usize, dst: *mut u8) -> bool {
    let largest = (0..k).fold(0, |most, i| most.max(src.add(i).read_unaligned() & 0x7fff));
    if largest >= 0x7c00 {
        return false;
    }
    let up = exponent_up(largest);
    dst.cast::<f32>().write(power_of_two(-up));
    let factor = f32x4_splat(power_of_two(up));
    let mask = opaque(i32x4_splat(HALF_BITS));
    let put = |eight: *const u16, i: usize| {
        let eight = load(eight);
        let eight = i16x8_shuffle::<0, 4, 1, 5, 2, 6, 3, 7>(eight, eight);
        store(dst.add(F16_HEAD + 2 * i), scale8_f16(eight, factor, mask));
    };
    let body = k / 8 * 8;
    for i in (0..body).step_by(8) {
        put(src.add(i), i);
    }
    if body < k {
        let mut rest = [0u16; 8];
        for i in body..k {
            rest[i - body] = src.add(i).read_unaligned();
        }
        put(rest.as_ptr(), body);
    }
    true
}

/// Returns whether all scales and mins are finite. One for each type: one for all compiles late.
///
/// # Safety
/// As for `repack`, of one row.
#[inline(never)]
unsafe fn block_row<const TYPE: u32>(
    kind: u32,
    src: *const u8,
    first_col: usize,
    k: usize,
    dst: *mut u8,
) -> bool {
    let first = first_col / BLOCK;
    let whole = if kind != F32 && copies(TYPE) { k / GROUP } else { 0 };
    let mut is_finite = true;
    for g in 0..whole {
        let group = dst.add(head_bytes(kind) + g * group_bytes(kind));
        is_finite &= copy_group::<TYPE>(src, first + 4 * g, group);
    }
    is_finite &= put_blocks(kind, whole, first, k, dst, |index| read_block::<TYPE>(src, index));
    if matches!(TYPE, ggml::Q3_K..=ggml::Q6_K) && matches!(kind, K4..=K6) {
        for g in 0..k / GROUP {
            write_codes::<TYPE>(kind, src, first + 4 * g, dst.add(g * group_bytes(kind)));
        }
    }
    is_finite
}

/// Writes the codes of the scales and mins of a group of a K-quant, and their units.
///
/// # Safety
/// `row` has four blocks from `first` on, parts of one block of the file; `group` is a packed group.
#[inline(always)]
unsafe fn write_codes<const TYPE: u32>(kind: u32, row: *const u8, first: usize, group: *mut u8) {
    let to = group.add(scales_at(kind, 4));
    for lane in 0..4 {
        let codes = read_codes::<TYPE>(row, first + lane);
        let second = if kind == K6 { codes.scale[1] as u8 } else { codes.min };
        to.add(lane).write(codes.scale[0] as u8);
        to.add(4 + lane).write(second);
        to.add(8).cast::<f32>().write_unaligned(codes.unit);
        if kind != K6 {
            to.add(12).cast::<f32>().write_unaligned(codes.min_unit);
        }
    }
}

/// Writes the groups from `whole` on of a row of `k` weights, the first of which are in block
/// `first`, and the row's head. Returns whether their scales and mins are finite.
///
/// # Safety
/// `dst` is a packed row of the kind.
#[inline(always)]
pub unsafe fn put_blocks(
    kind: u32,
    whole: usize,
    first: usize,
    k: usize,
    dst: *mut u8,
    read: impl Fn(usize) -> Block,
) -> bool {
    let n_blocks = k.div_ceil(BLOCK);
    if kind == F32 {
        for b in 0..n_blocks {
            let block = read(first + b);
            for i in 0..BLOCK {
                dst.cast::<f32>().add(b * BLOCK + i).write(block.value(i));
            }
        }
        return is_finite(dst.cast(), n_blocks * BLOCK);
    }
    let mut largest = zero();
    for g in whole..k.div_ceil(GROUP) {
        let group = core::array::from_fn(|lane| {
            let b = 4 * g + lane;
            if b < n_blocks {
                read(first + b)
            } else {
                Block::ZERO
            }
        });
        for Block { scale, min, .. } in &group {
            largest = larger(largest, f32x4(scale[0], scale[1], min[0], min[1]));
        }
        let dst = dst.add(head_bytes(kind) + g * group_bytes(kind));
        if g < groups(k) {
            write_group(kind, &group, dst);
        } else {
            write_half_group(kind, &group, dst);
        }
    }
    if head_bytes(kind) > 0 {
        write_head(kind, k, dst);
    }
    largest_magnitude(largest).is_finite()
}

/// Whether whole groups of a type are copied.
const fn copies(ggml_type: u32) -> bool {
    has_numbers(ggml_type) || matches!(ggml_type, ggml::Q4_0 | ggml::Q8_0)
}

/// Whether the nibbles of a type are numbers of its kind's table.
const fn has_numbers(ggml_type: u32) -> bool {
    matches!(ggml_type, ggml::IQ4_NL | ggml::IQ4_XS | ggml::MXFP4)
}

/// What `write_group` does of four blocks of a type that is copied, from block `first` on: the file
/// has their weights as the packed kind has them but for the order, so that whole vectors are moved.
/// Scales of Q4_0 and Q8_0 are moved too. Returns whether the scales are finite.
///
/// # Safety
/// `row` has four blocks from `first` on; `dst` is a packed group.
#[inline(always)]
unsafe fn copy_group<const TYPE: u32>(row: *const u8, first: usize, dst: *mut u8) -> bool {
    if has_numbers(TYPE) {
        let blocks = [0, 1, 2, 3].map(|lane| {
            let (block, part) = block_at(TYPE, row, first + lane);
            numbers::<TYPE>(block, part)
        });
        put_words(blocks.map(|(_, bytes)| load(bytes)), dst);
        let scales = blocks.map(|(scale, _)| scale);
        store(dst.add(NIBBLES), load(scales.as_ptr()));
        return is_finite(scales.as_ptr(), 4);
    }
    let bytes = if TYPE == ggml::Q4_0 { 18 } else { 34 };
    let block = |lane: usize| row.add((first + lane) * bytes);
    let weights = |at: usize| [0, 1, 2, 3].map(|lane| load(block(lane).add(2 + at)));
    let scales = if TYPE == ggml::Q4_0 {
        put_words(weights(0), dst);
        dst.add(NIBBLES)
    } else {
        put_bytes(|half| weights(16 * half), dst);
        dst.add(BYTES)
    };
    let mut largest = 0;
    for lane in 0..4 {
        let scale = block(lane).cast::<u16>().read_unaligned();
        largest = largest.max(scale & 0x7fff);
        scales.cast::<u16>().add(lane).write_unaligned(scale);
    }
    largest < 0x7c00
}

/// Writes 16 bytes of each of four blocks side by side: the nibbles of a nibble kind, or half of the
/// bytes of a byte kind.
///
/// # Safety
/// `dst` has 64 bytes.
#[inline(always)]
unsafe fn put_words(blocks: [v128; 4], dst: *mut u8) {
    for (j, words) in transpose(blocks).into_iter().enumerate() {
        store(dst.add(16 * j), words);
    }
}

/// Writes the weights of four blocks, given by halves, as a byte kind has them.
///
/// # Safety
/// `dst` has 128 bytes.
#[inline(always)]
unsafe fn put_bytes(half: impl Fn(usize) -> [v128; 4], dst: *mut u8) {
    for h in 0..2 {
        put_words(half(h).map(|q| v128_xor(q, i8x16_splat(-128))), dst.add(64 * h));
    }
}

/// Writes four blocks as a packed group of a block kind.
///
/// # Safety
/// `dst` is a packed group of the kind.
#[inline(never)]
unsafe fn write_group(kind: u32, group: &[Block; 4], dst: *mut u8) {
    let weights = |lane: usize, half: usize| load(group[lane].q.as_ptr().add(16 * half));
    if has_table(kind) {
        let table = Table::of(kind);
        let rows = core::array::from_fn(|lane| {
            let code = |i: usize| table.code(group[lane].q[i]);
            let bytes: [u8; 16] = core::array::from_fn(|i| code(i) | code(16 + i) << 4);
            load(bytes.as_ptr())
        });
        put_words(rows, dst);
    } else if is_nibbles(kind) {
        let offset = i8x16_splat(nibble_offset(kind));
        let rows = core::array::from_fn(|lane| {
            let low = i8x16_add(weights(lane, 0), offset);
            let high = i8x16_add(weights(lane, 1), offset);
            v128_or(low, i16x8_shl(high, 4))
        });
        put_words(rows, dst);
    } else if is_sextets(kind) {
        for half in 0..2 {
            let quads = transpose([0, 1, 2, 3].map(|lane| weights(lane, half)));
            let sextets = quads.map(|q| i8x16_add(q, i8x16_splat(32)));
            for (i, packed) in pack_four(sextets).into_iter().enumerate() {
                store(dst.add(six_head_bytes(kind) + half * (SEXTETS / 2) + 16 * i), packed);
            }
        }
    } else {
        put_bytes(|half| [0, 1, 2, 3].map(|lane| weights(lane, half)), dst);
    }
    write_scales(kind, group, dst);
}

/// Writes the first two of the blocks as a packed half group.
///
/// # Safety
/// `dst` is a packed half group of the kind.
unsafe fn write_half_group(kind: u32, group: &[Block; 4], dst: *mut u8) {
    let blocks = &group[..2];
    for (lane, block) in blocks.iter().enumerate() {
        for i in 0..BLOCK {
            if !is_nibbles(kind) {
                dst.add(byte_of(2, lane, i)).write(block.q[i] as u8 ^ 128);
            } else if i < BLOCK / 2 {
                let [low, high] = [i, BLOCK / 2 + i].map(|i| nibble(kind, block.q[i]));
                dst.add(nibble_of(2, lane, i)).write(low | high << 4);
            }
        }
    }
    write_scales(kind, blocks, dst);
}

fn is_nibbles(kind: u32) -> bool {
    kind < I8 || kind == K4
}

fn is_sextets(kind: u32) -> bool {
    matches!(kind, K5..=I6)
}

fn has_table(kind: u32) -> bool {
    matches!(kind, IQ4..=IQ1)
}

/// The nibble of an integer, in a nibble kind.
fn nibble(kind: u32, q: i8) -> u8 {
    if has_table(kind) {
        Table::of(kind).code(q)
    } else {
        (q + nibble_offset(kind)) as u8
    }
}

/// What is added to a weight. (A padding block, q = 0 and scale = 0, may hold any nibble.)
fn nibble_offset(kind: u32) -> i8 {
    if kind == Q4 {
        8
    } else {
        0
    }
}

/// Which byte of a byte kind is weight `i` of a block, of so many side by side.
pub fn byte_of(lanes: usize, lane: usize, i: usize) -> usize {
    i / 4 * 4 * lanes + lane * 4 + i % 4
}

/// Which byte of a nibble kind has weight `i`.
fn nibble_of(lanes: usize, lane: usize, i: usize) -> usize {
    byte_of(lanes, lane, i % 16)
}

/// Where the scales of a group of so many blocks begin.
fn scales_at(kind: u32, lanes: usize) -> usize {
    match kind {
        K5..=I6 => 0,
        _ if is_nibbles(kind) => lanes * NIBBLES / 4,
        _ => lanes * BYTES / 4,
    }
}

/// Writes the scales and mins of the blocks of a group.
///
/// # Safety
/// `group` is where the scales of a packed group of the kind begin.
#[inline(always)]
unsafe fn write_scales(kind: u32, blocks: &[Block], group: *mut u8) {
    let lanes = blocks.len();
    let scales = group.add(scales_at(kind, lanes)).cast::<f32>();
    let halves = if matches!(kind, I8H | I8HM) { 2 } else { 1 };
    for (lane, block) in blocks.iter().enumerate() {
        let put_half =
            |i: usize, x: f32| scales.cast::<u16>().add(i).write_unaligned(f32_to_f16(x));
        let put = |i: usize, x: f32| scales.add(i * lanes + lane).write_unaligned(x);
        match kind {
            Q4 | I8 | I6 => put_half(lane, block.scale[0]),
            K4..=K6 => {} // they have codes, which `write_codes` writes
            Q4M => {
                put_half(2 * lane, block.scale[0]);
                put_half(2 * lane + 1, block.min[0]);
            }
            _ => {
                for h in 0..halves {
                    put(h, block.scale[h]);
                    if matches!(kind, Q4K | I8M | I8HM) {
                        put(halves + h, block.min[h]);
                    }
                }
            }
        }
    }
}

/// Reads the blocks of a packed group of a block kind, or the two of a half group.
///
/// # Safety
/// `src` has a group of `kind`, of so many `lanes`.
pub unsafe fn read_group(kind: u32, lanes: usize, src: *const u8) -> [Block; 4] {
    if is_sextets(kind) {
        let mut bytes = [0u8; group_bytes(I8H)];
        to_bytes(kind, src, bytes.as_mut_ptr());
        return read_group(bytes_kind(kind), lanes, bytes.as_ptr());
    }
    let mut group = [Block::ZERO; 4];
    let scales = src.add(scales_at(kind, lanes)).cast::<f32>();
    let halves = if matches!(kind, I8H | I8HM) { 2 } else { 1 };
    for (lane, block) in group.iter_mut().enumerate().take(lanes) {
        for i in 0..BLOCK {
            block.q[i] = if is_nibbles(kind) {
                let byte = src.add(nibble_of(lanes, lane, i)).read();
                let nibble = byte >> (i / 16 * 4) & 15;
                if has_table(kind) {
                    Table::of(kind).values[usize::from(nibble)]
                } else {
                    nibble as i8 - nibble_offset(kind)
                }
            } else {
                (src.add(byte_of(lanes, lane, i)).read() ^ 128) as i8
            };
        }
        let half = |i: usize| f16_to_f32(scales.cast::<u16>().add(i).read_unaligned());
        let float = |i: usize| scales.add(i * lanes + lane).read_unaligned();
        match kind {
            Q4 | I8 => block.scale = [half(lane); 2],
            Q4M => (block.scale, block.min) = ([half(2 * lane); 2], [half(2 * lane + 1); 2]),
            K4 => {
                let [scale, min] = k_scales(load(scales)).map(|numbers| {
                    let mut by_lane = [0f32; 4];
                    store(by_lane.as_mut_ptr(), numbers);
                    by_lane[lane]
                });
                (block.scale, block.min) = ([scale; 2], [min; 2]);
            }
            _ => {
                for h in 0..2 {
                    block.scale[h] = float(h % halves);
                    if matches!(kind, Q4K | I8M | I8HM) {
                        block.min[h] = float(halves + h % halves);
                    }
                }
            }
        }
    }
    group
}

/// The exact f32 values of a packed row's `k` weights.
///
/// # Safety
/// `row` is a packed row of `k` weights of `kind`, `out` has room for `k` floats.
#[no_mangle]
pub unsafe extern "C" fn unpack_row(kind: u32, row: *const u8, k: usize, out: *mut f32) {
    match kind {
        F32 => out.copy_from_nonoverlapping(row.cast(), k),
        F16 => {
            let scale = row.cast::<f32>().read();
            let halves = row.add(F16_HEAD).cast::<u16>();
            for i in 0..k {
                let half = halves.add(i / 8 * 8 + half_of(i % 8)).read();
                out.add(i).write(f16_to_f32(half) * scale);
            }
        }
        _ => {
            let whole = if matches!(kind, I8 | I8H | K6 | I6) { k / GROUP } else { 0 };
            let mut bytes = [0u8; group_bytes(I8H)];
            for g in 0..whole {
                let mut group = row.add(g * group_bytes(kind));
                if is_sextets(kind) {
                    to_bytes(kind, group, bytes.as_mut_ptr());
                    group = bytes.as_ptr();
                }
                unpack_bytes(loose_kind(kind), group, out.add(g * GROUP));
            }
            let head = head_bytes(kind);
            let scale = if head > 0 { row.cast::<f32>().read_unaligned() } else { 1.0 };
            for g in whole..k.div_ceil(GROUP) {
                let lanes = if g < groups(k) { 4 } else { 2 };
                let group = read_group(kind, lanes, row.add(head + g * group_bytes(kind)));
                for i in g * GROUP..k.min((g + 1) * GROUP) {
                    out.add(i).write(group[i % GROUP / BLOCK].value(i % BLOCK) * scale);
                }
            }
        }
    }
}

/// The exact f32 values of a whole group of bytes without mins.
///
/// # Safety
/// `src` is one of I8 or I8H, `out` has room for 128 floats.
unsafe fn unpack_bytes(kind: u32, src: *const u8, out: *mut f32) {
    let scales = src.add(scales_at(kind, 4));
    for half in 0..2 {
        let words = [0, 1, 2, 3].map(|i| load(src.add(64 * half + 16 * i)));
        for (lane, bytes) in transpose(words).into_iter().enumerate() {
            let scale = f32x4_splat(if kind == I8 {
                f16_to_f32(scales.cast::<u16>().add(lane).read_unaligned())
            } else {
                scales.cast::<f32>().add(4 * half + lane).read_unaligned()
            });
            let bytes = v128_xor(bytes, i8x16_splat(-128));
            let words = [i16x8_extend_low_i8x16(bytes), i16x8_extend_high_i8x16(bytes)];
            for (i, words) in words.into_iter().enumerate() {
                let quads = [i32x4_extend_low_i16x8(words), i32x4_extend_high_i16x8(words)];
                for (j, quad) in quads.into_iter().enumerate() {
                    let at = out.add(BLOCK * lane + 16 * half + 8 * i + 4 * j);
                    store(at, f32x4_mul(f32x4_convert_i32x4(quad), scale));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of groups and a half group.
    #[test]
    fn bytes_unpack_as_blocks_do() {
        const K: usize = 2 * GROUP + HALF;
        for kind in [I8, I8H] {
            let bytes = group_bytes(kind);
            let mut row: Vec<u8> = (0..3 * bytes).map(|i| (i * i * 37 + i) as u8).collect();
            for g in 0..3 {
                let lanes = if g < 2 { 4 } else { 2 };
                let scales = g * bytes + scales_at(kind, lanes);
                for i in 0..lanes * if kind == I8 { 1 } else { 2 } {
                    let scale = 0.3 - i as f32;
                    match kind {
                        I8 => row[scales + 2 * i..][..2]
                            .copy_from_slice(&f32_to_f16(scale).to_le_bytes()),
                        _ => row[scales + 4 * i..][..4].copy_from_slice(&scale.to_le_bytes()),
                    }
                }
            }
            let mut out = [0f32; K];
            unsafe { unpack_row(kind, row.as_ptr(), K, out.as_mut_ptr()) };
            for (i, value) in out.into_iter().enumerate() {
                let g = i / GROUP;
                let lanes = if g < 2 { 4 } else { 2 };
                let group = unsafe { read_group(kind, lanes, row.as_ptr().add(g * bytes)) };
                assert_eq!(value, group[i % GROUP / BLOCK].value(i % BLOCK));
            }
        }
    }

    /// `copy_group` against `write_group` of the blocks that `read_block` makes, at every first
    /// block and over several groups.
    fn check<const TYPE: u32>(kind: u32, block_bytes: usize) {
        let mut state = 1u32;
        let mut row = vec![0u8; 11 * block_bytes];
        for (i, byte) in row.iter_mut().enumerate() {
            state = state.wrapping_mul(0x915f_77f5).wrapping_add(12345);
            *byte = (state >> 24) as u8;
            // The halves stay finite: write_group saturates infinities.
            if i % block_bytes == 1 {
                *byte &= 0xbb;
            }
        }
        let bytes = group_bytes(kind);
        for first in 0..8 {
            let (mut copied, mut written) = (vec![0xeeu8; bytes], vec![0xeeu8; bytes]);
            unsafe {
                copy_group::<TYPE>(row.as_ptr(), first, copied.as_mut_ptr());
                let group = core::array::from_fn(|i| read_block::<TYPE>(row.as_ptr(), first + i));
                write_group(kind, &group, written.as_mut_ptr());
            }
            assert_eq!(copied, written, "type {TYPE}, first block {first}");
        }
    }

    #[test]
    fn no_scale_is_a_subnormal_half() {
        // Scales and mins of 2^-24 to 2^5.
        for (id, kind, bytes, numbers) in [(ggml::Q4_0, Q4, 18, 1), (ggml::Q4_1, Q4M, 20, 2)] {
            for blocks in 1..12 {
                let mut row = vec![0x5au8; blocks * bytes];
                for (i, block) in row.chunks_mut(bytes).enumerate() {
                    for n in 0..numbers {
                        let half = [1u16, 0x83ff, 0x0155, 0xd000, 0, 0x1234][(i + n + blocks) % 6];
                        block[2 * n..2 * n + 2].copy_from_slice(&half.to_le_bytes());
                    }
                }
                let k = blocks * BLOCK;
                let mut packed = vec![0u8; packed_row_bytes(kind, k)];
                let (mut plain, mut out) = (vec![0f32; k], vec![0f32; k]);
                unsafe {
                    let to = packed.as_mut_ptr();
                    repack(id, kind, row.as_ptr(), 1, row.len(), 0, k, to, packed.len());
                    unpack_row(kind, to, k, out.as_mut_ptr());
                    let to = plain.as_mut_ptr().cast();
                    repack(id, F32, row.as_ptr(), 1, row.len(), 0, k, to, 4 * k);
                }
                assert_eq!(out, plain);
                for g in 0..groups(k) + usize::from(has_half(k)) {
                    let lanes = if g < groups(k) { 4 } else { 2 };
                    let at = head_bytes(kind) + g * group_bytes(kind) + scales_at(kind, lanes);
                    for half in packed[at..at + 2 * numbers * lanes].chunks(2) {
                        let bits = u16::from_le_bytes([half[0], half[1]]) & 0x7fff;
                        assert!(bits == 0 || bits >= 0x400, "{bits:#06x}");
                    }
                }
            }
        }
    }

    #[test]
    fn copied_groups_are_the_written_ones() {
        check::<{ ggml::Q4_0 }>(Q4, 18);
        check::<{ ggml::Q8_0 }>(I8, 34);
        check::<{ ggml::IQ4_NL }>(IQ4, 18);
        check::<{ ggml::IQ4_XS }>(IQ4, 136);
    }
}
