//! Sums of matrix rows with coefficients: the down projection, whose rows are neurons.
//!
//! Rows without a coefficient are not read. Few tokens: 16 active rows at a time, block kinds in integers (see coefficients.rs). Many tokens: a panel
//! of rows is unpacked once to f32, a column group at a time, and each token takes the rows that it has coefficients for.

use crate::coefficients::ROWS;
use crate::float::Floats;
use crate::i8::Bytes;
use crate::layout::{self, GROUP};
use crate::matmul::{with_rows, Rows};
use crate::q4::Nibbles;
use crate::simd::*;

/// From so many tokens on, unpacking to f32 pays.
const MANY_TOKENS: usize = 4;

/// Rows unpacked at a time: a column group of them is 16 KB.
const PANEL: usize = 32;

/// Tokens that share the unpacked rows.
const TOKENS: usize = 256;

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
    with_rows!(kind, sum(&call, n_tokens))
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
}

unsafe fn sum<K: Rows>(call: &Call, n_tokens: usize) -> u32 {
    let mut read = 0;
    if n_tokens < MANY_TOKENS {
        for t in 0..n_tokens {
            add_direct::<K>(call, t);
        }
    }
    for first in (0..call.n_rows).step_by(PANEL) {
        let n = PANEL.min(call.n_rows - first);
        let mut any = 0;
        for t in (0..n_tokens).step_by(TOKENS) {
            let mut masks = [0u32; TOKENS];
            let tokens = t..n_tokens.min(t + TOKENS);
            let mut active = 0;
            for t in tokens.clone() {
                masks[t % TOKENS] = nonzero(call.h.wrapping_add(t * call.h_stride + first), n);
                active |= masks[t % TOKENS];
            }
            if n_tokens >= MANY_TOKENS {
                for column in (0..call.k).step_by(GROUP) {
                    add_panel::<K>(call, first, active, &masks, tokens.clone(), column);
                }
            }
            any |= active;
        }
        read += any.count_ones();
    }
    read
}

/// Bit i says whether h[i] is not zero, for n <= 32 floats.
#[inline(always)]
unsafe fn nonzero(h: *const f32, n: usize) -> u32 {
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

/// Adds all active rows to one token, 16 at a time; in the last 16 the first row stands in with no coefficient.
#[inline(never)]
unsafe fn add_direct<K: Rows>(call: &Call, t: usize) {
    let mut rows = [core::ptr::null(); ROWS];
    let mut h = [0.0; ROWS];
    let mut pending = 0;
    for first in (0..call.n_rows).step_by(PANEL) {
        let n = PANEL.min(call.n_rows - first);
        let mut active = nonzero(call.h.wrapping_add(t * call.h_stride + first), n);
        while active != 0 {
            let j = first + active.trailing_zeros() as usize;
            active &= active - 1;
            (rows[pending], h[pending]) = (call.row(j), call.h(t, j));
            pending += 1;
            if pending == ROWS {
                add_rows::<K>(call, &rows, &h, call.out(t));
                pending = 0;
            }
        }
    }
    if pending > 0 {
        for r in pending..ROWS {
            (rows[r], h[r]) = (rows[0], 0.0);
        }
        add_rows::<K>(call, &rows, &h, call.out(t));
    }
}

/// Adds 16 rows to one token.
#[inline(never)]
unsafe fn add_rows<K: Rows>(call: &Call, rows: &[*const u8; ROWS], h: &[f32; ROWS], out: *mut f32) {
    let body = call.k / GROUP * GROUP;
    for column in (0..body).step_by(GROUP) {
        K::add(rows, K::column_bytes(column), h, GROUP, out.add(column));
    }
    let width = call.k - body;
    if width > 0 {
        let out = out.add(body);
        let mut padded = [0f32; GROUP];
        padded.as_mut_ptr().copy_from_nonoverlapping(out, width);
        let offset = K::column_bytes(body);
        K::add(rows, offset, h, width.next_multiple_of(8), padded.as_mut_ptr());
        out.copy_from_nonoverlapping(padded.as_ptr(), width);
    }
}

/// Adds the active rows among `first..first + 32` to the tokens' columns `column..column + 128`.
#[inline(never)]
unsafe fn add_panel<K: Rows>(
    call: &Call,
    first: usize,
    active: u32,
    masks: &[u32; TOKENS],
    tokens: core::ops::Range<usize>,
    column: usize,
) {
    let width = GROUP.min(call.k - column);
    let mut values = [[0f32; GROUP]; PANEL];
    for (i, value) in values.iter_mut().enumerate() {
        if active >> i & 1 != 0 {
            let group = call.row(first + i).wrapping_add(K::column_bytes(column));
            K::unpack(group, width.next_multiple_of(8), value);
        }
    }
    for t in tokens {
        let out = call.out(t).wrapping_add(column);
        let mut coefficients = [0f32; PANEL];
        let mut ids = [0usize; PANEL];
        let mut n = 0;
        let mut mask = masks[t % TOKENS];
        while mask != 0 {
            let i = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            (ids[n], coefficients[n]) = (i, call.h(t, first + i));
            n += 1;
        }
        let chosen = ids[..n].iter().zip(&coefficients);
        // Eight sums stay in registers while the rows pass.
        let body = width / 32 * 32;
        for i in (0..body).step_by(32) {
            let mut sums: [v128; 8] = core::array::from_fn(|v| load(out.add(i + 4 * v)));
            for (&id, &c) in chosen.clone() {
                let value = values.get_unchecked(id).as_ptr();
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = madd(f32x4_splat(c), load(value.add(i + 4 * v)), *sum);
                }
            }
            for (v, sum) in sums.into_iter().enumerate() {
                store(out.add(i + 4 * v), sum);
            }
        }
        for i in body..width {
            for (&id, &c) in chosen.clone() {
                *out.add(i) += c * values.get_unchecked(id).get_unchecked(i);
            }
        }
    }
}
