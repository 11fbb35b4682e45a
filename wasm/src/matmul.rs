//! Matrix products: which kernel runs on which rows and tokens.
//!
//! Tokens are taken in tiles of four, so that a weight is unpacked once for four products; rows in panels that stay in L2 while all tokens pass over
//! them, so that a matrix is read from DRAM once. One token streams the matrix row by row.

use crate::float::Floats;
use crate::i8::Bytes;
use crate::layout::*;
use crate::q4::Nibbles;

/// A packed kind's dot product.
pub trait Rows {
    /// A row of `k` weights times `T` rows of activations, `x_stride` bytes apart.
    ///
    /// # Safety
    /// `row` is a packed row of `k` weights of the kind; `x` has `T` rows of the activations that the kind takes.
    unsafe fn dot<const T: usize>(
        row: *const u8,
        k: usize,
        x: *const u8,
        x_stride: usize,
    ) -> [f32; T];
}

/// Bytes of a panel of rows.
const PANEL: usize = 128 * 1024;

/// Calls a generic function with the `Rows` of a kind.
macro_rules! with_rows {
    ($kind:expr, $f:ident($($argument:expr),*)) => {
        match $kind {
            F32 => $f::<Floats<false>>($($argument),*),
            F16 => $f::<Floats<true>>($($argument),*),
            Q4 => $f::<Nibbles<false>>($($argument),*),
            Q4M => $f::<Nibbles<true>>($($argument),*),
            I8 => $f::<Bytes<1, false>>($($argument),*),
            I8M => $f::<Bytes<1, true>>($($argument),*),
            I8H => $f::<Bytes<2, false>>($($argument),*),
            I8HM => $f::<Bytes<2, true>>($($argument),*),
            _ => {}
        }
    };
}

/// out[t * out_stride + r] = row r . x[t].
///
/// # Safety
/// `w` has `n_rows` packed rows of `k` weights; `x` has `n_tokens` rows of quantised activations (block kinds) or f32 padded with zeros to a multiple
/// of 8 (F32, F16); `out` reaches row `n_tokens - 1`, element `n_rows - 1`. Strides of `w` and `x` are in bytes, of `out` in floats.
#[no_mangle]
pub unsafe extern "C" fn matmul(
    kind: u32,
    w: *const u8,
    w_row_bytes: usize,
    n_rows: usize,
    k: usize,
    x: *const u8,
    x_row_bytes: usize,
    n_tokens: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let matrix = Matrix { w, w_row_bytes, n_rows, k };
    with_rows!(kind, multiply(&matrix, x, x_row_bytes, n_tokens, out, out_stride));
}

struct Matrix {
    w: *const u8,
    w_row_bytes: usize,
    n_rows: usize,
    k: usize,
}

unsafe fn multiply<R: Rows>(
    matrix: &Matrix,
    x: *const u8,
    x_row_bytes: usize,
    n_tokens: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let panel = (PANEL / matrix.w_row_bytes.max(1)).max(1);
    for first in (0..matrix.n_rows).step_by(panel) {
        let rows = first..(first + panel).min(matrix.n_rows);
        for t in (0..n_tokens).step_by(4) {
            let x = x.wrapping_add(t * x_row_bytes);
            let out = out.wrapping_add(t * out_stride);
            match n_tokens - t {
                1 => tile::<R, 1>(matrix, rows.clone(), x, x_row_bytes, out, out_stride),
                2 => tile::<R, 2>(matrix, rows.clone(), x, x_row_bytes, out, out_stride),
                3 => tile::<R, 3>(matrix, rows.clone(), x, x_row_bytes, out, out_stride),
                _ => tile::<R, 4>(matrix, rows.clone(), x, x_row_bytes, out, out_stride),
            }
        }
    }
}

#[inline(never)]
unsafe fn tile<R: Rows, const T: usize>(
    matrix: &Matrix,
    rows: core::ops::Range<usize>,
    x: *const u8,
    x_row_bytes: usize,
    out: *mut f32,
    out_stride: usize,
) {
    for r in rows {
        let row = matrix.w.wrapping_add(r * matrix.w_row_bytes);
        for (t, dot) in R::dot::<T>(row, matrix.k, x, x_row_bytes).into_iter().enumerate() {
            out.wrapping_add(t * out_stride + r).write(dot);
        }
    }
}

/// out[id] = row id . x for each of `n_ids` row ids; one token. Other elements are left alone.
///
/// # Safety
/// As for `matmul`; `ids` has `n_ids` rows of `w`.
#[no_mangle]
pub unsafe extern "C" fn matvec_rows(
    kind: u32,
    w: *const u8,
    w_row_bytes: usize,
    ids: *const u32,
    n_ids: usize,
    k: usize,
    x: *const u8,
    out: *mut f32,
) {
    with_rows!(kind, pick(w, w_row_bytes, ids, n_ids, k, x, out));
}

#[inline(never)]
unsafe fn pick<R: Rows>(
    w: *const u8,
    w_row_bytes: usize,
    ids: *const u32,
    n_ids: usize,
    k: usize,
    x: *const u8,
    out: *mut f32,
) {
    for i in 0..n_ids {
        let id = ids.add(i).read() as usize;
        let [dot] = R::dot::<1>(w.wrapping_add(id * w_row_bytes), k, x, 0);
        out.wrapping_add(id).write(dot);
    }
}
