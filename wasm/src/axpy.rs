//! Sums of matrix rows with coefficients: the down projection, whose rows are neurons.
//!
//! Rows without a coefficient are not read. Each token takes the rows that it has coefficients
//! for, a dozen at a time, block kinds in integers (see coefficients.rs).
//!
//! Which rows come together in a dozen decides how their sum is rounded, so dozens never reach
//! beyond a group of rows (groups.rs), and rows of a group are taken in a given order: the sum
//! of a group depends on its coefficients alone.

use core::ops::Range;

use crate::coefficients::ROWS;
use crate::elementwise::clear;
use crate::float::Floats;
use crate::groups::Groups;
use crate::i8::Bytes;
use crate::layout::{self, packed_row_bytes, GROUP};
use crate::matmul::{chosen, with_rows, Rows, SUM_I32};
use crate::picked::bring_rows;
use crate::q4::Nibbles;
use crate::simd::*;
use crate::six::Sextets;
use crate::table::Numbers;

/// Bytes of the rows that many tokens pass over while these stay in L2.
const PANEL: usize = 1024 * 1024;

/// out[t] += sum over j of h[t][j] * row j, for rows of `k` weights. Returns how many rows have a
/// coefficient that is not zero: only those are read.
///
/// # Safety
/// `w` has `n_rows` packed rows; `h` has `n_tokens` rows of `n_rows` floats, `h_stride` floats
/// apart; `out` has `n_tokens` rows of `k` floats, `out_stride` apart.
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
    let call = Call { w, w_row_bytes, order: core::ptr::null(), k, h, h_stride };
    with_rows!(kind, chosen(SUM_I32), sum(&call, n_rows, n_tokens, out, out_stride))
}

/// # Safety
/// As for `axpy_rows`.
unsafe fn sum<K: Rows>(
    kernel: K,
    call: &Call,
    n_rows: usize,
    n_tokens: usize,
    out: *mut f32,
    out_stride: usize,
) -> u32 {
    let panel = if n_tokens == 1 {
        n_rows
    } else {
        (PANEL / K::column_bytes(call.k).max(1)).next_multiple_of(32)
    };
    let mut read = 0;
    for first in (0..n_rows).step_by(panel.max(1)) {
        let rows = first..n_rows.min(first + panel);
        read += call.active(rows.clone(), n_tokens);
        for t in 0..n_tokens {
            add_active(kernel, call, rows.clone(), t, out.wrapping_add(t * out_stride));
        }
    }
    read
}

/// The same in groups: rows `order[i]` for i before `ends[0]` are the first one, and so on. The
/// sums of the groups are added along a tree, and those that remain written to the first of
/// `levels` (see groups.rs).
///
/// # Safety
/// As for `axpy_rows`; `order` lists rows of `w`, `ends` and `merges` have `n_groups` elements,
/// and `levels` as many pointers to `n_tokens` rows of `k` floats, `out_stride` apart, as the
/// groups have sums side by side.
#[no_mangle]
pub unsafe extern "C" fn axpy_groups(
    kind: u32,
    w: *const u8,
    w_row_bytes: usize,
    order: *const u32,
    ends: *const u32,
    merges: *const u32,
    n_groups: usize,
    k: usize,
    h: *const f32,
    h_stride: usize,
    n_tokens: usize,
    levels: *const *mut f32,
    out_stride: usize,
) -> u32 {
    let call = Call { w, w_row_bytes, order, k, h, h_stride };
    let mut groups = Groups::new(merges, n_groups, levels, out_stride, k);
    let mut read = 0;
    let mut first = 0;
    while !groups.done() {
        let end = ends.add(groups.index()).read() as usize;
        if n_tokens == 1 {
            call.bring(first..end, packed_row_bytes(kind, k));
        }
        read += with_rows!(kind, chosen(SUM_I32), add_group(&call, first..end, n_tokens, &groups));
        groups.next();
        first = end;
    }
    read
}

struct Call {
    w: *const u8,
    w_row_bytes: usize,
    /// The rows' numbers, or null where they come one after the other.
    order: *const u32,
    k: usize,
    h: *const f32,
    h_stride: usize,
}

impl Call {
    fn row(&self, j: usize) -> *const u8 {
        self.w.wrapping_add(j * self.w_row_bytes)
    }

    /// The row that comes as number `i`.
    ///
    /// # Safety
    /// `i` is the number of a row of the call.
    #[inline(always)]
    unsafe fn at(&self, i: usize) -> usize {
        if self.order.is_null() {
            i
        } else {
            self.order.add(i).read() as usize
        }
    }

    /// The coefficient of row `j` for token `t`.
    ///
    /// # Safety
    /// `t` is a token and `j` a row of the call.
    #[inline(always)]
    unsafe fn h(&self, t: usize, j: usize) -> f32 {
        self.h.wrapping_add(t * self.h_stride + j).read()
    }

    /// Bit i says whether the coefficient of row number `first + i` is not zero, for n <= 32 rows.
    ///
    /// # Safety
    /// They are rows of the call, `t` a token.
    #[inline(always)]
    unsafe fn nonzero(&self, t: usize, first: usize, n: usize) -> u32 {
        let mut bits = 0;
        let body = n / 4 * 4;
        for i in (0..body).step_by(4) {
            let four = if self.order.is_null() {
                load(self.h.wrapping_add(t * self.h_stride + first + i))
            } else {
                let h = [0, 1, 2, 3].map(|lane| self.h(t, self.at(first + i + lane)));
                f32x4(h[0], h[1], h[2], h[3])
            };
            bits |= u32::from(i32x4_bitmask(f32x4_ne(four, zero()))) << i;
        }
        for i in body..n {
            bits |= u32::from(self.h(t, self.at(first + i)) != 0.0) << i;
        }
        bits
    }

    /// Brings rows into a cache: the first ones of those that the only token has coefficients for.
    ///
    /// # Safety
    /// They are rows of the call, of `row_bytes` bytes.
    unsafe fn bring(&self, rows: Range<usize>, row_bytes: usize) {
        let wanted = rows.map(|i| self.at(i)).filter(|&j| self.h(0, j) != 0.0);
        bring_rows(wanted.map(|j| self.row(j)), row_bytes);
    }

    /// How many rows some token has a coefficient for.
    ///
    /// # Safety
    /// They are rows of the call, which has `n_tokens` tokens.
    unsafe fn active(&self, rows: Range<usize>, n_tokens: usize) -> u32 {
        let mut count = 0;
        for first in rows.clone().step_by(32) {
            let n = rows.end.min(first + 32) - first;
            let any = (0..n_tokens).fold(0, |any, t| any | self.nonzero(t, first, n));
            count += any.count_ones();
        }
        count
    }
}

/// Adds up the group at hand for each token. Returns how many rows were read.
///
/// # Safety
/// As for `axpy_groups`; `rows` are those of the group at hand.
unsafe fn add_group<K: Rows>(
    kernel: K,
    call: &Call,
    rows: Range<usize>,
    n_tokens: usize,
    groups: &Groups,
) -> u32 {
    let mut read = 0;
    for t in 0..n_tokens {
        let sum = groups.room(t);
        clear(sum, call.k);
        read = add_active(kernel, call, rows.clone(), t, sum);
        groups.merge(t);
    }
    if n_tokens == 1 {
        read
    } else {
        call.active(rows, n_tokens)
    }
}

/// Adds the active rows to one token, a dozen at a time. Returns how many.
///
/// # Safety
/// They are rows of the call, `t` a token; `out` has `k` floats.
#[inline(never)]
unsafe fn add_active<K: Rows>(
    kernel: K,
    call: &Call,
    rows: Range<usize>,
    t: usize,
    out: *mut f32,
) -> u32 {
    let mut dozen = Dozen::EMPTY;
    let mut count = 0;
    for first in rows.clone().step_by(32) {
        let n = rows.end.min(first + 32) - first;
        let mut active = call.nonzero(t, first, n);
        count += active.count_ones();
        while active != 0 {
            let j = call.at(first + active.trailing_zeros() as usize);
            active &= active - 1;
            dozen.push(call.row(j), call.h(t, j));
            if dozen.length == ROWS {
                dozen.add(kernel, call.k, out);
            }
        }
    }
    dozen.add(kernel, call.k, out);
    count
}

/// Rows of a dozen that is not full and has no more than these: the last of a group.
const FEW: usize = 4;

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

    /// Adds the rows, of `k` weights, to `out`, and forgets them: as `FEW` or `ROWS`, of which the
    /// first stands in for missing ones with no coefficient.
    ///
    /// # Safety
    /// They are packed rows of the kind; `out` has `k` floats.
    #[inline(always)]
    pub unsafe fn add<K: Rows>(&mut self, kernel: K, k: usize, out: *mut f32) {
        let length = core::mem::take(&mut self.length);
        if length == 0 {
            return;
        }
        let room = if length <= FEW { FEW } else { ROWS };
        for r in length..room {
            (self.rows[r], self.h[r]) = (self.rows[0], 0.0);
        }
        if length <= FEW {
            add_rows::<K, FEW>(kernel, &self.rows, &self.h, k, out);
        } else {
            add_rows::<K, ROWS>(kernel, &self.rows, &self.h, k, out);
        }
    }
}

/// Adds the first `N` of a dozen rows to one token.
///
/// # Safety
/// The first `N` are packed rows of the kind; `out` has `k` floats.
#[inline(never)]
unsafe fn add_rows<K: Rows, const N: usize>(
    kernel: K,
    rows: &[*const u8; ROWS],
    h: &[f32; ROWS],
    k: usize,
    out: *mut f32,
) {
    let rows: &[*const u8; N] = &core::array::from_fn(|r| rows[r]);
    let h: &[f32; N] = &core::array::from_fn(|r| h[r]);
    let body = k / GROUP * GROUP;
    for column in (0..body).step_by(GROUP) {
        add_columns(kernel, rows, K::column_bytes(column), h, GROUP, out.add(column));
    }
    let width = k - body;
    if width > 0 {
        let out = out.add(body);
        let mut padded = [0f32; GROUP];
        padded.as_mut_ptr().copy_from_nonoverlapping(out, width);
        let offset = K::column_bytes(body);
        add_columns(kernel, rows, offset, h, width.next_multiple_of(8), padded.as_mut_ptr());
        out.copy_from_nonoverlapping(padded.as_ptr(), width);
    }
}

/// `Rows::add`, as a kernel that is there once.
///
/// # Safety
/// As for `Rows::add`.
#[inline(never)]
unsafe fn add_columns<K: Rows, const N: usize>(
    kernel: K,
    rows: &[*const u8; N],
    offset: usize,
    h: &[f32; N],
    width: usize,
    out: *mut f32,
) {
    kernel.add(rows, offset, h, width, out);
}
