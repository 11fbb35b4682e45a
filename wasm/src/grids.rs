//! ggml's types whose weights come in small vectors, numbers of a grid: IQ1, IQ2 and IQ3. Blocks
//! hold 256 weights under one d. (`src/formats/ggml/read_grids.ts` is the same, and has the
//! layouts.)

use crate::f16::f16_to_f32;
use crate::ggml::{half, Block};

/// `N` entries of 16 bits in base64, as `scripts/ggml_grids.py` writes them.
const fn entries<const N: usize>(text: &[u8]) -> [u16; N] {
    let mut entries = [0; N];
    let (mut bits, mut held, mut byte, mut at) = (0u32, 0, 0, 0);
    while at < text.len() {
        let code = match text[at] {
            c @ b'A'..=b'Z' => c - b'A',
            c @ b'a'..=b'z' => c - b'a' + 26,
            c @ b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => 64, // a line's end, or padding
        };
        at += 1;
        if code == 64 {
            continue;
        }
        bits = bits << 6 | code as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            entries[byte / 2] |= ((bits >> held & 255) as u16) << (byte % 2 * 8);
            byte += 1;
        }
    }
    assert!(byte == 2 * N);
    entries
}

static IQ1_S: [u16; 2048] = entries(include_bytes!("../grids/iq1_s.txt"));
static IQ2_XXS: [u16; 256] = entries(include_bytes!("../grids/iq2_xxs.txt"));
static IQ2_XS: [u16; 512] = entries(include_bytes!("../grids/iq2_xs.txt"));
static IQ2_S: [u16; 1024] = entries(include_bytes!("../grids/iq2_s.txt"));
static IQ3_XXS: [u16; 256] = entries(include_bytes!("../grids/iq3_xxs.txt"));
static IQ3_S: [u16; 512] = entries(include_bytes!("../grids/iq3_s.txt"));

const TWOS: [i8; 4] = [8, 25, 43, 0];
const THREES: [i8; 8] = [4, 12, 20, 28, 36, 44, 52, 62];
const ODD: [i8; 8] = [1, 3, 5, 7, 9, 11, 13, 15];

/// `W` weights of an entry whose codes number `values`; those whose bit is set in `signs` become
/// negative.
#[inline(always)]
fn put<const W: usize>(entry: u16, values: &[i8], signs: u8, q: &mut [i8]) {
    let bits = 16 / W;
    for (j, q) in q.iter_mut().enumerate().take(W) {
        let value =
            values[usize::from(entry >> (bits * j)) & ((1 << bits) - 1) & (values.len() - 1)];
        *q = if signs >> j & 1 != 0 { -value } else { value };
    }
}

/// IQ1: 8 grid + 1, or - 1 where `is_negative`.
fn put_shifted(index: usize, is_negative: bool, q: &mut [i8]) {
    let shift = if is_negative { -1 } else { 1 };
    put::<8>(IQ1_S[index], &[shift - 8, shift, shift + 8, 0], 0, q);
}

/// Seven signs, and the eighth that makes their number even.
fn eight_signs(seven: u32) -> u8 {
    let seven = (seven & 127) as u8;
    seven | (seven.count_ones() as u8 & 1) << 7
}

/// # Safety
/// The bytes at `p` are readable.
unsafe fn word(p: *const u8) -> u16 {
    p.cast::<u16>().read_unaligned()
}

/// # Safety
/// The bytes at `p` are readable.
unsafe fn double_word(p: *const u8) -> u32 {
    p.cast::<u32>().read_unaligned()
}

fn odd(code: u32) -> f32 {
    (2 * code + 1) as f32
}

/// Two scales of IQ2 in a byte.
fn two_scales(d: f32, byte: u8) -> [f32; 2] {
    [byte & 15, byte >> 4].map(|code| d * odd(u32::from(code)) / 8.0)
}

/// # Safety
/// `block` is a whole one, `part` below 8; so in all that follow.
pub unsafe fn iq1_s(block: *const u8, part: usize) -> Block {
    let word = word(block.add(34 + 2 * part));
    let mut out = Block::ZERO;
    out.scale = [half(block) * odd(u32::from(word >> 12 & 7)) / 8.0; 2];
    for l in 0..4 {
        let low = usize::from(block.add(2 + 4 * part + l).read());
        let index = low | usize::from(word >> (3 * l) & 7) << 8;
        put_shifted(index, word >> 15 != 0, &mut out.q[8 * l..]);
    }
    out
}

/// # Safety
/// As for `iq1_s`.
pub unsafe fn iq1_m(block: *const u8, part: usize) -> Block {
    let scales = block.add(48);
    let bits = (0..4).fold(0, |bits, i| bits | word(scales.add(2 * i)) >> 12 << (4 * i));
    let d = f16_to_f32(bits);
    let codes = word(scales.add(part / 2 * 2)) >> (part % 2 * 6);
    let mut out = Block::ZERO;
    out.scale = [codes & 7, codes >> 3 & 7].map(|code| d * odd(u32::from(code)) / 8.0);
    for l in 0..4 {
        let high = block.add(32 + 2 * part + l / 2).read() >> (l % 2 * 4);
        let index = usize::from(block.add(4 * part + l).read()) | usize::from(high & 7) << 8;
        put_shifted(index, high & 8 != 0, &mut out.q[8 * l..]);
    }
    out
}

/// # Safety
/// As for `iq1_s`.
pub unsafe fn iq2_xxs(block: *const u8, part: usize) -> Block {
    let first = block.add(2 + 8 * part);
    let word = double_word(first.add(4));
    let mut out = Block::ZERO;
    out.scale = [half(block) * odd(word >> 28) / 8.0; 2];
    for l in 0..4 {
        let entry = IQ2_XXS[usize::from(first.add(l).read())];
        put::<8>(entry, &TWOS, eight_signs(word >> (7 * l)), &mut out.q[8 * l..]);
    }
    out
}

/// # Safety
/// As for `iq1_s`.
pub unsafe fn iq2_xs(block: *const u8, part: usize) -> Block {
    let mut out = Block::ZERO;
    out.scale = two_scales(half(block), block.add(66 + part).read());
    for l in 0..4 {
        let word = word(block.add(2 + 8 * part + 2 * l));
        let signs = eight_signs(u32::from(word >> 9));
        put::<8>(IQ2_XS[usize::from(word & 511)], &TWOS, signs, &mut out.q[8 * l..]);
    }
    out
}

/// # Safety
/// As for `iq1_s`.
pub unsafe fn iq2_s(block: *const u8, part: usize) -> Block {
    let high = block.add(66 + part).read();
    let mut out = Block::ZERO;
    out.scale = two_scales(half(block), block.add(74 + part).read());
    for l in 0..4 {
        let at = block.add(2 + 4 * part + l);
        let index = usize::from(at.read()) | usize::from(high >> (2 * l) & 3) << 8;
        put::<8>(IQ2_S[index], &TWOS, at.add(32).read(), &mut out.q[8 * l..]);
    }
    out
}

/// # Safety
/// As for `iq1_s`.
pub unsafe fn iq3_xxs(block: *const u8, part: usize) -> Block {
    let word = double_word(block.add(66 + 4 * part));
    let mut out = Block::ZERO;
    out.scale = [half(block) * odd(word >> 28) / 4.0; 2];
    for l in 0..8 {
        let signs = eight_signs(word >> (l / 2 * 7)) >> (l % 2 * 4);
        let entry = IQ3_XXS[usize::from(block.add(2 + 8 * part + l).read())];
        put::<4>(entry, &THREES, signs, &mut out.q[4 * l..]);
    }
    out
}

/// # Safety
/// As for `iq1_s`.
pub unsafe fn iq3_s(block: *const u8, part: usize) -> Block {
    let code = block.add(106 + part / 2).read() >> (part % 2 * 4) & 15;
    let high = block.add(66 + part).read();
    let mut out = Block::ZERO;
    out.scale = [half(block) * odd(u32::from(code)); 2];
    for l in 0..8 {
        let index = usize::from(block.add(2 + 8 * part + l).read());
        let index = index | usize::from(high >> l & 1) << 8;
        let signs = block.add(74 + 4 * part + l / 2).read() >> (l % 2 * 4);
        put::<4>(IQ3_S[index], &ODD, signs, &mut out.q[4 * l..]);
    }
    out
}
