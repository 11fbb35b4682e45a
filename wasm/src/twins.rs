//! The kernels beside scalar twins: sums in f64 over what packed rows and pages hold.

use crate::activations::quantise_activations;
use crate::attention::attention;
use crate::axpy::{axpy_groups, axpy_rows};
use crate::elementwise::add;
use crate::kv::{kv_store, side_bytes, PAGE};
use crate::layout::{activation_row_bytes, packed_row_bytes};
use crate::layout::{
    F16, F32, FP4, GROUP, I6, I8, I8H, I8HM, I8M, IQ1, IQ2, IQ3, IQ3S, IQ4, K4, K5, K6, Q4, Q4K,
    Q4M,
};
use crate::matmul::{choose, matmul, matvec_rows, SUM_I32};
use crate::pack::{repack, unpack_row};
use crate::picked::matmul_where;
use crate::simd_emulated::SUBNORMALS;

/// ggml's types, what holds each, and of a block the weights, the bytes, and where its halves are.
type Type = (u32, u32, usize, usize, &'static [usize]);

const TYPES: [Type; 19] = [
    (0, F32, 1, 4, &[]),
    (1, F16, 1, 2, &[0]),
    (2, Q4, 32, 18, &[0]),
    (3, Q4M, 32, 20, &[0, 2]),
    (12, Q4K, 256, 144, &[0, 2]),
    (12, K4, 256, 144, &[0, 2]),
    (23, IQ4, 256, 136, &[0]),
    (39, FP4, 32, 17, &[]),
    (18, IQ3, 256, 98, &[0]),
    (21, IQ3S, 256, 110, &[0]),
    (16, IQ2, 256, 66, &[0]),
    (19, IQ1, 256, 50, &[0]),
    (8, I8, 32, 34, &[0]),
    (7, I8M, 32, 24, &[0, 2]),
    (14, I8H, 256, 210, &[208]),
    (13, K5, 256, 176, &[0, 2]),
    (14, K6, 256, 210, &[208]),
    (6, I6, 32, 22, &[0]),
    (10, I8HM, 256, 84, &[80, 82]),
];

/// xorshift32 (Marsaglia 2003).
struct Random(u32);

impl Random {
    fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        self.bits() as usize % end
    }

    /// From -1 to 1.
    fn float(&mut self) -> f32 {
        self.bits() as f32 / 2f32.powi(31) - 1.0
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// A packed matrix, and its weights.
struct Matrix {
    kind: u32,
    k: usize,
    rows: usize,
    row_bytes: usize,
    packed: Vec<u8>,
    weights: Vec<f32>,
}

/// A half of 2^-6 to 2^-3, of either sign.
fn usual_half(random: &mut Random) -> u16 {
    0x2400 + (random.bits() & 0x8fff) as u16
}

/// A half below 2^-14, of either sign.
fn subnormal_half(random: &mut Random) -> u16 {
    (random.bits() & 0x83ff) as u16
}

fn random_matrix(
    random: &mut Random,
    (id, kind, block, bytes, halves): Type,
    rows: usize,
    half: fn(&mut Random) -> u16,
) -> Matrix {
    let unit = if kind < K4 { block } else { block.max(GROUP) };
    let k = if unit == 1 { 1 + random.below(300) } else { unit * (1 + random.below(700 / unit)) };
    let stride = k / block * bytes;
    let mut source: Vec<u8> = (0..rows * stride).map(|_| random.bits() as u8).collect();
    for at in (0..source.len()).step_by(bytes) {
        for field in halves {
            source[at + field..at + field + 2].copy_from_slice(&half(random).to_le_bytes());
        }
        if id == 39 {
            source[at] = 122 + (random.bits() & 3) as u8;
        }
        if id == 0 {
            source[at..at + 4].copy_from_slice(&random.float().to_le_bytes());
        }
    }
    let row_bytes = packed_row_bytes(kind, k);
    let mut packed = vec![0; rows * row_bytes];
    let mut weights = vec![0f32; rows * k];
    unsafe {
        let to = packed.as_mut_ptr();
        assert_eq!(
            repack(id, kind, source.as_ptr(), rows, stride, 0, k, to, row_bytes) as usize,
            rows
        );
        for r in 0..rows {
            unpack_row(kind, to.add(r * row_bytes), k, weights[r * k..].as_mut_ptr());
        }
    }
    Matrix { kind, k, rows, row_bytes, packed, weights }
}

impl Matrix {
    /// Activations in the form that the kind takes, and bytes from row to row.
    fn activations(&self, x: &[f32], tokens: usize) -> (Vec<u8>, usize) {
        if self.kind == F32 || self.kind == F16 {
            let width = self.k.next_multiple_of(8);
            let padded = x
                .chunks(self.k)
                .flat_map(|row| row.iter().copied().chain(core::iter::repeat(0.0)).take(width));
            return (padded.flat_map(f32::to_le_bytes).collect(), 4 * width);
        }
        let bytes = activation_row_bytes(self.k);
        let mut rows = vec![0; tokens * bytes];
        let to = rows.as_mut_ptr();
        unsafe { quantise_activations(x.as_ptr(), self.k, tokens, self.k, to, bytes) };
        (rows, bytes)
    }

    fn row(&self, r: usize) -> &[f32] {
        &self.weights[r * self.k..(r + 1) * self.k]
    }

    /// Row r times x, and how far quantising x to 8 bits may move that.
    fn dot(&self, r: usize, x: &[f32]) -> (f64, f64) {
        let mut sum = 0.0;
        let mut bound = 0.0;
        for (w, x) in self.row(r).chunks(32).zip(x.chunks(32)) {
            let largest = x.iter().fold(0f32, |most, x| most.max(x.abs()));
            for (w, x) in w.iter().zip(x) {
                sum += f64::from(*w) * f64::from(*x);
                bound += f64::from(w.abs() * largest) / 250.0;
            }
        }
        (sum, if self.kind == F32 || self.kind == F16 { bound / 1000.0 } else { bound })
    }
}

#[test]
fn products_are_those_of_scalars() {
    let mut random = Random(1);
    for kind in TYPES {
        for round in 0..6 {
            let rows = random.below(20);
            let matrix = random_matrix(&mut random, kind, rows, usual_half);
            let tokens = 1 + random.below(6);
            let x = random.floats(tokens * matrix.k);
            let (input, stride) = matrix.activations(&x, tokens);
            let mut out = vec![0f32; tokens * rows];
            let (w, input) = (matrix.packed.as_ptr(), input.as_ptr());
            let Matrix { kind, k, row_bytes, .. } = matrix;
            choose(round);
            let to = out.as_mut_ptr();
            unsafe { matmul(kind, w, row_bytes, rows, k, input, stride, tokens, to, rows) };
            for t in 0..tokens {
                for r in 0..rows {
                    let (expected, bound) = matrix.dot(r, &x[t * k..(t + 1) * k]);
                    let error = (f64::from(out[t * rows + r]) - expected).abs();
                    assert!(error <= bound + 1e-6, "kind {kind}: off by {error} > {bound}");
                }
            }
            let mut picked = vec![-7f32; tokens * rows];
            let asked = random.floats(tokens * rows);
            let to = picked.as_mut_ptr();
            let asks = asked.as_ptr();
            unsafe {
                matmul_where(
                    kind, w, row_bytes, rows, k, input, stride, tokens, asks, 0.25, to, rows,
                )
            };
            let ids: Vec<u32> = (0..rows as u32).filter(|r| r % 3 != 0).collect();
            let mut some = vec![-7f32; rows];
            let to = some.as_mut_ptr();
            unsafe { matvec_rows(kind, w, row_bytes, ids.as_ptr(), ids.len(), k, input, to) };
            for i in 0..tokens * rows {
                assert_eq!(picked[i], if asked[i] >= 0.25 { out[i] } else { -7.0 });
            }
            for r in 0..rows {
                assert_eq!(some[r], if r % 3 != 0 { out[r] } else { -7.0 });
            }
        }
    }
    choose(0);
}

#[test]
fn subnormal_scales_are_multiplied_without_subnormal_numbers() {
    let mut random = Random(4);
    for kind in TYPES {
        let matrix = random_matrix(&mut random, kind, 13, subnormal_half);
        let Matrix { kind, k, rows, row_bytes, .. } = matrix;
        let x = random.floats(3 * k);
        let (input, stride) = matrix.activations(&x, 3);
        let mut out = vec![0f32; 3 * rows.max(k)];
        let (w, input, to) = (matrix.packed.as_ptr(), input.as_ptr(), out.as_mut_ptr());
        let h = random.floats(rows);
        SUBNORMALS.set(0);
        unsafe {
            matmul(kind, w, row_bytes, rows, k, input, stride, 3, to, rows);
            axpy_rows(kind, w, row_bytes, rows, k, h.as_ptr(), rows, 1, to, k);
        }
        assert_eq!(SUBNORMALS.get(), 0, "kind {kind}");
    }
}

/// The stack of sums of groups of rows, which come from the last on.
fn sum_groups(matrix: &Matrix, h: &[f32], ends: &[u32], merges: &[u32]) -> [Vec<f32>; 3] {
    let mut levels = [(); 3].map(|_| vec![9f32; matrix.k]);
    let table = levels.each_mut().map(|level| level.as_mut_ptr());
    let order: Vec<u32> = (0..matrix.rows as u32).rev().collect();
    unsafe {
        axpy_groups(
            matrix.kind,
            matrix.packed.as_ptr(),
            matrix.row_bytes,
            order.as_ptr(),
            ends.as_ptr(),
            merges.as_ptr(),
            ends.len(),
            matrix.k,
            h.as_ptr(),
            matrix.rows,
            1,
            table.as_ptr(),
            matrix.k,
        );
    }
    levels
}

#[test]
fn rows_add_up_in_groups_along_a_tree() {
    let mut random = Random(2);
    for kind in TYPES {
        let rows = 40 + random.below(60);
        let matrix = random_matrix(&mut random, kind, rows, usual_half);
        let h: Vec<f32> =
            (0..rows).map(|_| if random.below(3) == 0 { random.float() } else { 0.0 }).collect();
        let ends = [7, 31, 31, rows as u32];
        choose(0);
        let whole = sum_groups(&matrix, &h, &ends, &[0, 1, 0, 2]);
        choose(SUM_I32);
        assert_eq!(sum_groups(&matrix, &h, &ends, &[0, 1, 0, 2]), whole);
        // Two sums that another adds up are the same sum.
        let mut halves = sum_groups(&matrix, &h, &ends, &[0, 1, 0, 1]);
        let [first, second, _] = &mut halves;
        unsafe { add(first.as_mut_ptr(), second.as_ptr(), matrix.k) };
        assert_eq!(&whole[0], first);
        let largest = matrix.weights.iter().fold(0f32, |most, w| most.max(w.abs()));
        let bound = rows as f64 * f64::from(largest) / 250.0;
        for i in 0..matrix.k {
            let expected: f64 =
                (0..rows).map(|r| f64::from(h[r]) * f64::from(matrix.row(r)[i])).sum();
            let error = (f64::from(whole[0][i]) - expected).abs();
            assert!(error <= bound, "kind {}: off by {error} > {bound}", matrix.kind);
        }
    }
}

#[test]
fn attention_is_that_of_scalars() {
    let mut random = Random(3);
    for (cache_type, tolerance) in [(0, 1e-5), (1, 1e-3), (2, 3e-2)] {
        for _ in 0..8 {
            let d = 8 * (1 + random.below(10));
            let (heads, tokens) = (1 + random.below(5), 1 + random.below(6));
            let before = random.below(70);
            let window = [0, 1 + random.below(40)][random.below(2)];
            let positions = before + tokens;
            let side = side_bytes(cache_type, d);
            let mut pages: Vec<Vec<u8>> =
                (0..positions.div_ceil(PAGE)).map(|_| vec![0; 2 * side]).collect();
            let [keys, values] = [(); 2].map(|_| random.floats(positions * d));
            for p in 0..positions {
                let (key, value) = (keys[p * d..].as_ptr(), values[p * d..].as_ptr());
                let page = pages[p / PAGE].as_mut_ptr();
                unsafe { kv_store(cache_type, key, value, d, page, p % PAGE) };
            }
            let table: Vec<*const u8> = pages.iter().map(|page| page.as_ptr()).collect();
            let width = heads * d;
            let q = random.floats(tokens * width);
            let mut out = vec![0f32; tokens * width];
            let scale = 1.0 / (d as f32).sqrt();
            let cap = [0.0, 2.0][random.below(2)];
            let sinks = [None, Some(random.floats(heads))][random.below(2)].clone();
            unsafe {
                attention(
                    cache_type,
                    q.as_ptr(),
                    width,
                    tokens,
                    heads,
                    d,
                    table.as_ptr(),
                    before + 1,
                    window,
                    scale,
                    cap,
                    sinks.as_ref().map_or(core::ptr::null(), |s| s.as_ptr()),
                    out.as_mut_ptr(),
                    width,
                );
            }
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            for row in 0..tokens * heads {
                let end = before + 1 + row / heads;
                let start = if window == 0 { 0 } else { end.saturating_sub(window) };
                let q = &q[row * d..(row + 1) * d];
                let weights: Vec<f64> = (start..end)
                    .map(|p| f64::from(scale) * dot(q, &keys[p * d..(p + 1) * d]))
                    .map(|s| if cap == 0.0 { s } else { 2.0 * (s / 2.0).tanh() })
                    .map(f64::exp)
                    .collect();
                let sink = sinks.as_ref().map_or(0.0, |s| f64::from(s[row % heads]).exp());
                let sum = sink + weights.iter().sum::<f64>();
                for j in 0..d {
                    let expected: f64 = weights
                        .iter()
                        .zip(start..end)
                        .map(|(weight, p)| weight / sum * f64::from(values[p * d + j]))
                        .sum();
                    let error = (f64::from(out[row * d + j]) - expected).abs();
                    assert!(error <= tolerance, "type {cache_type}: off by {error}");
                }
            }
        }
    }
}
