//! Products of several tokens with rows that take more instructions to unpack than to multiply: a
//! panel of them is unpacked once, to rows of another kind that have the same numbers, and so results
//! have the same bits.

use core::cell::UnsafeCell;

use crate::layout::{group_bytes, packed_row_bytes, GROUP};
use crate::matmul::{multiply, Matrix, Rows, Tokens, PANEL, ROWS};

/// Rows of a panel.
#[repr(align(64))]
struct Panel(UnsafeCell<[u8; PANEL]>);

thread_local! {
    static UNPACKED: Panel = const { Panel(UnsafeCell::new([0; PANEL])) };
}

/// Multiplies rows of the first of two kinds by the kernel of the second one, to which `unpack` brings
/// a group. Whether it did: rows too long for a panel are for their own kernel.
///
/// # Safety
/// As for `matmul`; rows have whole groups.
pub unsafe fn multiply_unpacked<K: Rows>(
    kernel: K,
    [kind, unpacked_kind]: [u32; 2],
    unpack: impl Fn(*const u8, *mut u8),
    matrix: &Matrix,
    tokens: &Tokens,
    n_tokens: usize,
) -> bool {
    let &Matrix { n_rows, k, .. } = matrix;
    let row_bytes = packed_row_bytes(unpacked_kind, k);
    let panel = PANEL / row_bytes.max(1) / ROWS * ROWS;
    if panel == 0 {
        return false;
    }
    let w: *mut u8 = UNPACKED.with(|panel| panel.0.get()).cast();
    for first in (0..n_rows).step_by(panel) {
        let n_rows = panel.min(n_rows - first);
        for r in 0..n_rows {
            let (mut from, mut to) = (matrix.row(first + r), w.add(r * row_bytes));
            for _ in 0..k / GROUP {
                unpack(from, to);
                from = from.wrapping_add(group_bytes(kind));
                to = to.wrapping_add(group_bytes(unpacked_kind));
            }
        }
        let rows = Matrix { w, w_row_bytes: row_bytes, n_rows, k };
        multiply(kernel, &rows, &tokens.of_rows_from(first), n_tokens);
    }
    true
}
