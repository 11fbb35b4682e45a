//! Sums of matrix rows with coefficients: the down projection, whose rows are neurons.
//!
//! Rows without a coefficient are not read. Each token takes the rows that it has coefficients for, a dozen at a time, block kinds in integers (see
//! coefficients.rs). Several tokens pass over a panel of rows that stays in L2.

use core::ops::Range;

use crate::coefficients::ROWS;
use crate::float::Floats;
use crate::i8::Bytes;
use crate::layout::{self, GROUP};
use crate::matmul::{with_rows, Rows};
use crate::q4::Nibbles;
use crate::simd::*;

/// Bytes of a panel of rows.
const PANEL: usize = 1024 * 1024;

/// out[t] += sum over j of h[t][j] * row j, for rows of `k` weights. Returns how many rows have a coefficient that is not zero: only those are read.
///
/// # Safety
/// `w` has `n_rows` packed rows; `h` has `n_tokens` rows of `n_rows` floats, `h_stride` floats apart; `out` has `n_tokens` rows of `k` floats,
/// `out_stride` apart.
#[no_mangle]
pub unsafe extern "C" fn axpy_rows(
    kind: u32,
    w: *const u8,
    w_row_bytes: usize,
    n_rows: usize,
    k: usize,
    h: *const f32,
    h_stride: usize,
    n_tokens: usize,
    out: *mut f32,
    out_stride: usize,
) -> u32 {
    let call = Call { w, w_row_bytes, n_rows, k, h, h_stride, out, out_stride };
    with_rows!(kind, false, sum(&call, n_tokens))
}

struct Call {
    w: *const u8,
    w_row_bytes: usize,
    n_rows: usize,
    k: usize,
    h: *const f32,
    h_stride: usize,
    out: *mut f32,
    out_stride: usize,
}

impl Call {
    fn row(&self, j: usize) -> *const u8 {
        self.w.wrapping_add(j * self.w_row_bytes)
    }

    fn out(&self, t: usize) -> *mut f32 {
        self.out.wrapping_add(t * self.out_stride)
    }

    /// The coefficient of row `j` for token `t`.
    #[inline(always)]
    unsafe fn h(&self, t: usize, j: usize) -> f32 {
        self.h.wrapping_add(t * self.h_stride + j).read()
    }

    /// Bit i says whether the coefficient of row `first + i` is not zero, for n <= 32 rows.
    #[inline(always)]
    unsafe fn nonzero(&self, t: usize, first: usize, n: usize) -> u32 {
        let h = self.h.wrapping_add(t * self.h_stride + first);
        let mut bits = 0;
        let body = n / 4 * 4;
        for i in (0..body).step_by(4) {
            bits |= u32::from(i32x4_bitmask(f32x4_ne(load(h.add(i)), zero()))) << i;
        }
        for i in body..n {
            bits |= u32::from(h.add(i).read() != 0.0) << i;
        }
        bits
    }
}

unsafe fn sum<K: Rows>(call: &Call, n_tokens: usize) -> u32 {
    let panel = if n_tokens == 1 {
        call.n_rows
    } else {
        (PANEL / K::column_bytes(call.k).max(1)).next_multiple_of(32)
    };
    let mut read = 0;
    for first in (0..call.n_rows).step_by(panel.max(1)) {
        let rows = first..call.n_rows.min(first + panel);
        for first in rows.clone().step_by(32) {
            let n = rows.end.min(first + 32) - first;
            let active = (0..n_tokens).fold(0, |any, t| any | call.nonzero(t, first, n));
            read += active.count_ones();
        }
        for t in 0..n_tokens {
            add_active::<K>(call, rows.clone(), t);
        }
    }
    read
}

/// Adds the active rows to one token, a dozen at a time.
#[inline(never)]
unsafe fn add_active<K: Rows>(call: &Call, range: Range<usize>, t: usize) {
    let mut dozen = Dozen::EMPTY;
    for first in range.clone().step_by(32) {
        let n = range.end.min(first + 32) - first;
        let mut active = call.nonzero(t, first, n);
        while active != 0 {
            let j = first + active.trailing_zeros() as usize;
            active &= active - 1;
            dozen.push(call.row(j), call.h(t, j));
            if dozen.length == ROWS {
                dozen.add::<K>(call.k, call.out(t));
            }
        }
    }
    dozen.add::<K>(call.k, call.out(t));
}

/// Rows that are added together.
pub struct Dozen {
    rows: [*const u8; ROWS],
    h: [f32; ROWS],
    pub length: usize,
}

impl Dozen {
    pub const EMPTY: Dozen = Dozen { rows: [core::ptr::null(); ROWS], h: [0.0; ROWS], length: 0 };

    /// Takes one more row and its coefficient; there is room for `ROWS`.
    #[inline(always)]
    pub fn push(&mut self, row: *const u8, h: f32) {
        (self.rows[self.length], self.h[self.length]) = (row, h);
        self.length += 1;
    }

    /// Adds the rows, of `k` weights, to `out`, and forgets them. Where there are less than a dozen, the first stands in with no coefficient.
    ///
    /// # Safety
    /// They are packed rows of the kind; `out` has `k` floats.
    pub unsafe fn add<K: Rows>(&mut self, k: usize, out: *mut f32) {
        if self.length == 0 {
            return;
        }
        for r in self.length..ROWS {
            (self.rows[r], self.h[r]) = (self.rows[0], 0.0);
        }
        add_rows::<K>(&self.rows, &self.h, k, out);
        self.length = 0;
    }
}

/// Adds a dozen rows to one token.
#[inline(never)]
unsafe fn add_rows<K: Rows>(rows: &[*const u8; ROWS], h: &[f32; ROWS], k: usize, out: *mut f32) {
    let body = k / GROUP * GROUP;
    for column in (0..body).step_by(GROUP) {
        K::add(rows, K::column_bytes(column), h, GROUP, out.add(column));
    }
    let width = k - body;
    if width > 0 {
        let out = out.add(body);
        let mut padded = [0f32; GROUP];
        padded.as_mut_ptr().copy_from_nonoverlapping(out, width);
        let offset = K::column_bytes(body);
        K::add(rows, offset, h, width.next_multiple_of(8), padded.as_mut_ptr());
        out.copy_from_nonoverlapping(padded.as_ptr(), width);
    }
}
