//! Sums of matrix rows with coefficients: the down projection, whose rows are neurons.
//!
//! f32 arithmetic on exact weights. Rows are taken four at a time among those with a coefficient that is not zero, so that the output is
//! loaded and stored once for four rows.

use crate::float::load4;
use crate::layout::*;
use crate::pack::read_group;
use crate::simd::*;

/// out[t] += sum over j of h[t][j] * row j, for rows of `k` weights. A row whose coefficients are all zero is not read. Returns the rows read.
///
/// # Safety
/// `w` has `n_rows` packed rows; `h` has `n_tokens` rows of `n_rows` floats, `h_stride` floats apart; `out` has `n_tokens` rows of `k` floats, `out_stride` apart.
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
    let mut read = 0;
    let mut four = [0; 4];
    let mut pending = 0;
    let sum = |rows: &[usize]| {
        add_rows(kind, w, w_row_bytes, rows, k, h, h_stride, n_tokens, out, out_stride);
    };
    for j in 0..n_rows {
        if (0..n_tokens).any(|t| h.wrapping_add(t * h_stride + j).read() != 0.0) {
            four[pending] = j;
            pending += 1;
            read += 1;
            if pending == 4 {
                sum(&four);
                pending = 0;
            }
        }
    }
    sum(&four[..pending]);
    read
}

/// Adds up to four rows to the tokens that have a coefficient for one of them.
unsafe fn add_rows(
    kind: u32,
    w: *const u8,
    w_row_bytes: usize,
    rows: &[usize],
    k: usize,
    h: *const f32,
    h_stride: usize,
    n_tokens: usize,
    out: *mut f32,
    out_stride: usize,
) {
    if rows.is_empty() {
        return;
    }
    let mut values = [[0f32; GROUP]; 4];
    for first in (0..k).step_by(GROUP) {
        let width = GROUP.min(k - first);
        for (value, &j) in values.iter_mut().zip(rows) {
            unpack_group(kind, w.wrapping_add(j * w_row_bytes), first, width, value);
        }
        for t in 0..n_tokens {
            let coefficients: [f32; 4] = core::array::from_fn(|i| match rows.get(i) {
                Some(j) => h.wrapping_add(t * h_stride + j).read(),
                None => 0.0,
            });
            if coefficients != [0.0; 4] {
                add_group(&values, coefficients, width, out.wrapping_add(t * out_stride + first));
            }
        }
    }
}

#[inline(always)]
unsafe fn add_group(
    values: &[[f32; GROUP]; 4],
    coefficients: [f32; 4],
    width: usize,
    out: *mut f32,
) {
    let body = width / 4 * 4;
    let mut c = [zero(); 4];
    for (c, coefficient) in c.iter_mut().zip(coefficients) {
        *c = f32x4_splat(coefficient);
    }
    for i in (0..body).step_by(4) {
        let mut sum = load(out.add(i));
        for (value, &c) in values.iter().zip(&c) {
            sum = madd(c, load(value.as_ptr().add(i)), sum);
        }
        store(out.add(i), sum);
    }
    for i in body..width {
        let mut sum = out.add(i).read();
        for (value, c) in values.iter().zip(coefficients) {
            sum += c * value[i];
        }
        out.add(i).write(sum);
    }
}

/// Weights `first..first + width` of a row as f32, in order; `first` is a multiple of 128. Writes up to the next multiple of 4, which rows are padded to.
#[inline(always)]
unsafe fn unpack_group(
    kind: u32,
    row: *const u8,
    first: usize,
    width: usize,
    values: &mut [f32; GROUP],
) {
    match kind {
        F32 => unpack_floats::<false>(row, first, width, values),
        F16 => unpack_floats::<true>(row, first, width, values),
        _ => {
            let group = read_group(kind, row.add(first / GROUP * group_bytes(kind)));
            for (i, value) in values.iter_mut().enumerate() {
                *value = group[i / BLOCK].value(i % BLOCK);
            }
        }
    }
}

#[inline(always)]
unsafe fn unpack_floats<const HALF: bool>(
    row: *const u8,
    first: usize,
    width: usize,
    values: &mut [f32; GROUP],
) {
    for i in (0..width).step_by(4) {
        store(values.as_mut_ptr().add(i), load4::<HALF>(row, first + i));
    }
}
