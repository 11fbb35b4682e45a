//! Products of picked rows with several tokens, each of which asks for rows of its own.
//!
//! Rows are taken in panels that stay in L2: the rows that some token asks for are brought there
//! first, and then one token after the other picks its own, so that a row comes from memory once,
//! whoever asks for it. From a cache a token's rows, four at a time, are as fast as tiles of rows
//! and tokens.

use core::ops::Range;

use crate::float::Floats;
use crate::gate::{select_at_least, select_in_any};
use crate::i8::Bytes;
use crate::layout::{self, packed_row_bytes};
use crate::matmul::{chosen, pick, with_rows, ROWS, SUM_I32};
use crate::q4::Nibbles;
use crate::simd::opaque;
use crate::six::Sextets;
use crate::table::Numbers;

/// Bytes of a panel's rows that are asked for, unless a block of rows goes beyond.
const PANEL: usize = 512 * 1024;
const BLOCK_ROWS: usize = 32;
/// Rows of a panel, at most: a multiple of a block's.
const PANEL_ROWS: usize = 2048;

/// As `matmul`, but only the results for which `asked`, of the shape and stride of `out`, is at
/// least `least`; others are left alone. Returns how many those are. Rows that no token asks for
/// are not read, unless they lie among many that some do.
///
/// # Safety
/// As for `matmul`; `asked` reaches as far as `out`.
#[no_mangle]
pub unsafe extern "C" fn matmul_where(
    kind: u32,
    w: *const u8,
    w_row_bytes: usize,
    n_rows: usize,
    k: usize,
    x: *const u8,
    x_row_bytes: usize,
    n_tokens: usize,
    asked: *const f32,
    least: f32,
    out: *mut f32,
    out_stride: usize,
) -> usize {
    let row_bytes = packed_row_bytes(kind, k);
    let asks = Asks { asked, stride: out_stride, n_tokens, least };
    let mut ids = [0; PANEL_ROWS];
    let mut count = 0;
    let mut first = 0;
    while first < n_rows {
        let (n, needed) = asks.panel(first..n_rows, PANEL / row_bytes.max(1), &mut ids);
        let w = w.wrapping_add(first * w_row_bytes);
        bring(w, w_row_bytes, row_bytes, n, needed);
        for t in 0..n_tokens {
            let ids = asks.of_token(t, first, n, &mut ids);
            let x = x.wrapping_add(t * x_row_bytes);
            let out = out.wrapping_add(t * out_stride + first);
            with_rows!(kind, chosen(SUM_I32), pick([(); ROWS], w, w_row_bytes, ids, k, x, out));
            count += ids.len();
        }
        first += n;
    }
    count
}

/// Who asks for what: token t for row r where `asked[t * stride + r]` is at least `least`.
struct Asks {
    asked: *const f32,
    stride: usize,
    n_tokens: usize,
    least: f32,
}

impl Asks {
    /// How many rows from the first of `rows` on make a panel of which about `most` are asked for,
    /// and which these are, counted from there.
    ///
    /// # Safety
    /// They are rows.
    unsafe fn panel<'a>(
        &self,
        rows: Range<usize>,
        most: usize,
        ids: &'a mut [u32; PANEL_ROWS],
    ) -> (usize, &'a [u32]) {
        let Asks { asked, stride, n_tokens, least } = *self;
        let (mut n, mut needed) = (0, 0);
        while n < rows.len().min(PANEL_ROWS) && (n == 0 || needed < most) {
            let block = BLOCK_ROWS.min(rows.len() - n);
            let asked = asked.wrapping_add(rows.start + n);
            let to = ids[needed..].as_mut_ptr();
            let found = select_in_any(asked, stride, n_tokens, block, least, to) as usize;
            ids[needed..needed + found].iter_mut().for_each(|id| *id += n as u32);
            needed += found;
            n += block;
        }
        (n, &ids[..needed])
    }

    /// The ids of the `n` rows from `first` on that a token asks for, counted from there.
    ///
    /// # Safety
    /// They are rows.
    unsafe fn of_token<'a>(
        &self,
        t: usize,
        first: usize,
        n: usize,
        ids: &'a mut [u32; PANEL_ROWS],
    ) -> &'a [u32] {
        let asked = self.asked.wrapping_add(t * self.stride + first);
        let count = select_at_least(asked, n, self.least, ids.as_mut_ptr());
        &ids[..count as usize]
    }
}

/// Reads the rows `ids` of a panel of `n`, so that they are in a cache: many lines are on their way
/// at a time, where a product has few. Where most are asked for, all of them in order: on a Zen 5
/// memory gives rows in order at 33 GB/s, picked ones four at a time at 20, one by one at 15.
///
/// # Safety
/// They are rows of `row_bytes` bytes, `stride` apart.
unsafe fn bring(w: *const u8, stride: usize, row_bytes: usize, n: usize, ids: &[u32]) {
    let row = |id: u32| w.wrapping_add(id as usize * stride);
    if 8 * ids.len() > 5 * n {
        for id in 0..n as u32 {
            read_lines([row(id)], row_bytes);
        }
        return;
    }
    for ids in ids.chunks(BROUGHT) {
        bring_rows(ids.iter().map(|&id| row(id)), row_bytes);
    }
}

/// Rows that one token picks which are asked for at once, before they are multiplied or summed: eight
/// dozens. On a Zen 5 a third of rows of 872 bytes comes at 9.7 GB/s into products where it came at
/// 5.8, into sums at 6.3 in place of 4.2; of 2,312 bytes at 11.5 in place of 10.3, and 7.1 as before.
pub const BROUGHT: usize = 96;

/// Brings the first `BROUGHT` rows into a cache.
///
/// # Safety
/// They have so many bytes.
#[inline(always)]
pub unsafe fn bring_rows(rows: impl Iterator<Item = *const u8>, row_bytes: usize) {
    let mut found = [core::ptr::null(); BROUGHT];
    let mut n = 0;
    for (to, row) in found.iter_mut().zip(rows) {
        *to = row;
        n += 1;
    }
    read_rows(&found[..n], row_bytes);
}

/// Reads rows four at a time: two or eight are slower.
///
/// # Safety
/// They have so many bytes.
#[inline(never)]
unsafe fn read_rows(rows: &[*const u8], row_bytes: usize) {
    for four in rows.chunks(4) {
        read_lines([0, 1, 2, 3].map(|i| four[i.min(four.len() - 1)]), row_bytes);
    }
}

/// Reads a word of each line of some rows.
///
/// # Safety
/// They have so many bytes.
#[inline(always)]
unsafe fn read_lines<const R: usize>(rows: [*const u8; R], bytes: usize) {
    let mut sums = [0u32; R];
    for at in (0..bytes & !3).step_by(64) {
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum ^= row.wrapping_add(at).cast::<u32>().read();
        }
    }
    // V8 drops loads whose results are not used.
    opaque(sums);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::F32;
    use crate::matmul::matmul;

    /// Three tokens, of which one asks for few rows, one for half and one for nearly all.
    fn assert_those_asked_for(n_rows: usize, k: usize) {
        let mut bits = 1u32;
        let mut random = || {
            bits = bits.wrapping_mul(1664525).wrapping_add(1013904223);
            bits as f32 / 2f32.powi(32)
        };
        let w: Vec<f32> = (0..n_rows * k).map(|_| random()).collect();
        let x: Vec<f32> = (0..3 * k).map(|_| random()).collect();
        let asked: Vec<f32> =
            (0..3 * n_rows).map(|i| random() + [-0.4, 0.0, 0.45][i / n_rows]).collect();
        let mut all = vec![0f32; 3 * n_rows];
        let mut some = vec![-7f32; 3 * n_rows];
        let (to, to_some) = (all.as_mut_ptr(), some.as_mut_ptr());
        let (w, x, asks) = (w.as_ptr().cast(), x.as_ptr().cast(), asked.as_ptr());
        let bytes = 4 * k;
        let count = unsafe {
            matmul(F32, w, bytes, n_rows, k, x, bytes, 3, to, n_rows);
            matmul_where(F32, w, bytes, n_rows, k, x, bytes, 3, asks, 0.5, to_some, n_rows)
        };
        assert_eq!(count, asked.iter().filter(|&&a| a >= 0.5).count());
        for i in 0..3 * n_rows {
            assert_eq!(some[i], if asked[i] >= 0.5 { all[i] } else { -7.0 });
        }
    }

    #[test]
    fn panels_end_anywhere() {
        // Many short rows, a few long ones, and rows of which a block is more than a panel.
        for (n_rows, k) in [(5003, 8), (131, 1024), (70, 8192), (0, 8), (1, 8)] {
            assert_those_asked_for(n_rows, k);
        }
    }
}
