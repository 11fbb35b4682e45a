//! Matrix products: which kernel runs on which rows and tokens.
//!
//! Tiles are of four rows, which lie far apart in the matrix, and of two tokens, or of two rows and
//! the last three tokens: their sums, and what they are made of, fit V8's 15 vector registers, and a
//! weight is unpacked once for two products, or three.
//! Rows come in panels that stay in L2 while all tokens pass over them, two at a time, so that a
//! matrix is read from DRAM once.

use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::float::Floats;
use crate::i8::Bytes;
use crate::layout::{self, packed_row_bytes};
use crate::picked::{bring_rows, BROUGHT};
use crate::q4::Nibbles;
use crate::simd::opaque;
use crate::six::Sextets;
use crate::table::Numbers;

/// What a packed kind's rows can do.
pub trait Rows: Copy {
    /// Whether tiles are of half as many rows, and of four tokens, where there are so many.
    const FOUR_TOKENS: bool = false;

    /// `R` rows of `k` weights times `T` rows of activations.
    ///
    /// # Safety
    /// `rows` are packed rows of `k` weights of the kind; `tokens` are rows of the activations that
    /// the kind takes.
    unsafe fn dot<const R: usize, const T: usize>(
        self,
        rows: [*const u8; R],
        k: usize,
        tokens: [*const u8; T],
    ) -> [[f32; T]; R];

    /// Multiplies rows unpacked, where that pays (see unpacked.rs); returns whether it did.
    ///
    /// # Safety
    /// As for `matmul`.
    #[inline(always)]
    unsafe fn multiply_unpacked(
        self,
        _matrix: &Matrix,
        _tokens: &Tokens,
        _n_tokens: usize,
    ) -> bool {
        false
    }

    /// Bytes before a column that is a multiple of 128.
    fn column_bytes(column: usize) -> usize;

    /// out += sum over r of h[r] * row r, for a column group of `N` rows, at most `ROWS` and a
    /// multiple of 4; of plain rows only the first `width` columns, a multiple of 8.
    ///
    /// # Safety
    /// `rows[r] + offset` is row r from such a column on; `out` has 128 floats.
    unsafe fn add<const N: usize>(
        self,
        rows: &[*const u8; N],
        offset: usize,
        h: &[f32; N],
        width: usize,
        out: *mut f32,
    );
}

/// Bytes of a panel of rows.
pub const PANEL: usize = 128 * 1024;

/// Bits of `choose`: one token takes `WIDE_ROWS` rows side by side instead of `ROWS`. CPUs
/// whose memory answers late read a third faster with more; those that compute just as fast as
/// memory delivers lose by the registers that are spilled.
pub const WIDE: u32 = 1;
/// The products of nibbles with one token are summed in i32 at once: one instruction where the CPU
/// has VNNI, three where it has not.
pub const SUM_I32: u32 = 2;
/// So are those with several tokens.
pub const TILE_I32: u32 = 4;

static VARIANT: AtomicU32 = AtomicU32::new(0);

/// Chooses among kernels that give the same results, for all calls from now on. Gives what was
/// chosen before.
#[no_mangle]
pub extern "C" fn choose(variant: u32) -> u32 {
    VARIANT.swap(variant, Relaxed)
}

pub fn chosen(bit: u32) -> bool {
    VARIANT.load(Relaxed) & bit != 0
}

/// Calls a generic function with the `Rows` of a kind, those that sum nibbles' products in i32
/// where that is so, before the arguments.
macro_rules! with_rows {
    ($kind:expr, $sum_i32:expr, $f:ident($($argument:expr),*)) => {
        match $kind {
            layout::F32 => $f(Floats::<false>, $($argument),*),
            layout::F16 => $f(Floats::<true>, $($argument),*),
            layout::Q4 if $sum_i32 => $f(Nibbles::<{ layout::Q4 }, true>, $($argument),*),
            layout::Q4M if $sum_i32 => $f(Nibbles::<{ layout::Q4M }, true>, $($argument),*),
            layout::Q4K if $sum_i32 => $f(Nibbles::<{ layout::Q4K }, true>, $($argument),*),
            layout::K4 if $sum_i32 => $f(Nibbles::<{ layout::K4 }, true>, $($argument),*),
            layout::Q4 => $f(Nibbles::<{ layout::Q4 }, false>, $($argument),*),
            layout::Q4M => $f(Nibbles::<{ layout::Q4M }, false>, $($argument),*),
            layout::Q4K => $f(Nibbles::<{ layout::Q4K }, false>, $($argument),*),
            layout::K4 => $f(Nibbles::<{ layout::K4 }, false>, $($argument),*),
            layout::IQ4..=layout::IQ1 => $f(Numbers::of($kind), $($argument),*),
            layout::I8 => $f(Bytes::<1, false, 8>, $($argument),*),
            layout::I8M => $f(Bytes::<1, true, 8>, $($argument),*),
            layout::I8H => $f(Bytes::<2, false, 8>, $($argument),*),
            layout::I8HM => $f(Bytes::<2, true, 8>, $($argument),*),
            layout::K5 => $f(Sextets::<{ layout::K5 }, 1, true>, $($argument),*),
            layout::K6 => $f(Sextets::<{ layout::K6 }, 2, false>, $($argument),*),
            layout::I6 => $f(Sextets::<{ layout::I6 }, 1, false>, $($argument),*),
            _ => Default::default(),
        }
    };
}
pub(crate) use with_rows;

/// out[t * out_stride + r] = row r . x[t].
///
/// # Safety
/// `w` has `n_rows` packed rows of `k` weights; `x` has `n_tokens` rows of quantised activations
/// (block kinds) or f32 padded with zeros to a multiple of 8 (F32, F16); `out` reaches row
/// `n_tokens - 1`, element `n_rows - 1`. Strides of `w` and `x` are in bytes, of `out` in floats.
#[no_mangle]
#[inline(never)]
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
    let sum_i32 = chosen(if n_tokens == 1 { SUM_I32 } else { TILE_I32 });
    let tokens = Tokens { x, x_row_bytes, out, out_stride };
    with_rows!(kind, sum_i32, multiply(&matrix, &tokens, n_tokens));
}

/// Words that V8 has to keep on the stack over a call so that frames above it lie 8 bytes off
/// (measured in Deno 2.9, by bench/stack_frames.ts: one or two do not do it).
const KEPT: usize = 3;

/// Calls a kernel in shifted stack frames: V8 aligns the vectors that are spilled into them to 8
/// bytes only, for good or bad.
#[inline(always)]
fn shifted(kernel: impl FnOnce()) {
    let kept: [u64; KEPT] = core::array::from_fn(|_| opaque(0));
    kernel();
    let _ = kept.map(opaque);
}

/// `matmul` in shifted stack frames.
///
/// # Safety
/// As for `matmul`.
#[no_mangle]
pub unsafe extern "C" fn matmul_shifted(
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
    shifted(|| matmul(kind, w, w_row_bytes, n_rows, k, x, x_row_bytes, n_tokens, out, out_stride));
}

/// Packed rows of `k` weights.
pub struct Matrix {
    pub w: *const u8,
    pub w_row_bytes: usize,
    pub n_rows: usize,
    pub k: usize,
}

impl Matrix {
    pub fn row(&self, r: usize) -> *const u8 {
        self.w.wrapping_add(r * self.w_row_bytes)
    }
}

/// Rows of a tile. Each is a stream that the CPU fetches ahead: with two of them products of two
/// tokens wait for memory twice as long. More need more registers than there are.
pub const ROWS: usize = 4;
const WIDE_ROWS: usize = 12;

/// # Safety
/// As for `matmul`.
pub unsafe fn multiply<K: Rows>(kernel: K, matrix: &Matrix, tokens: &Tokens, n_tokens: usize) {
    if n_tokens > 1 && kernel.multiply_unpacked(matrix, tokens, n_tokens) {
        return;
    }
    let is_wide = n_tokens == 1 && chosen(WIDE);
    let rows = if is_wide { WIDE_ROWS } else { ROWS };
    let apart = matrix.n_rows / rows;
    if is_wide {
        tiles::<K, WIDE_ROWS, 1>(kernel, matrix, 0..apart, apart, tokens);
    } else {
        let panel = (PANEL / ROWS / K::column_bytes(matrix.k).max(1)).max(1);
        for first in (0..apart).step_by(panel) {
            let rows = first..(first + panel).min(apart);
            pass::<K, ROWS>(kernel, matrix, rows, apart, tokens, n_tokens);
        }
    }
    pass::<K, 1>(kernel, matrix, rows * apart..matrix.n_rows, 0, tokens, n_tokens);
}

/// Rows of activations, and where their results go.
pub struct Tokens {
    pub x: *const u8,
    pub x_row_bytes: usize,
    pub out: *mut f32,
    pub out_stride: usize,
}

impl Tokens {
    fn from(&self, t: usize) -> Tokens {
        let x = self.x.wrapping_add(t * self.x_row_bytes);
        Tokens { x, out: self.out.wrapping_add(t * self.out_stride), ..*self }
    }

    /// The results from row `r` on.
    pub fn of_rows_from(&self, r: usize) -> Tokens {
        Tokens { out: self.out.wrapping_add(r), ..*self }
    }
}

/// What `tiles` does, of `n_tokens`.
///
/// # Safety
/// As for `tiles`.
#[inline(always)]
unsafe fn pass<K: Rows, const R: usize>(
    kernel: K,
    matrix: &Matrix,
    rows: Range<usize>,
    apart: usize,
    tokens: &Tokens,
    n_tokens: usize,
) {
    let mut t = 0;
    while t < n_tokens {
        let (rows, from) = (rows.clone(), tokens.from(t));
        let left = n_tokens - t;
        t += match left {
            // The last rows, fewer than a tile's, are not worth kernels for several tokens.
            _ if left == 1 || R == 1 => {
                tiles::<K, R, 1>(kernel, matrix, rows, apart, &from);
                1
            }
            // Rows that come from memory come faster all at once.
            3 if R == ROWS && t > 0 => {
                halves::<K, 3>(kernel, matrix, rows, apart, &from);
                3
            }
            4.. if K::FOUR_TOKENS && R == ROWS => {
                halves::<K, 4>(kernel, matrix, rows, apart, &from);
                4
            }
            _ => {
                tiles::<K, R, 2>(kernel, matrix, rows, apart, &from);
                2
            }
        };
    }
}

/// What `tiles` does of `ROWS` rows, half of them at a time: more tokens then fit the registers.
///
/// # Safety
/// As for `tiles`.
#[inline(always)]
unsafe fn halves<K: Rows, const T: usize>(
    kernel: K,
    matrix: &Matrix,
    rows: Range<usize>,
    apart: usize,
    tokens: &Tokens,
) {
    let far = ROWS / 2 * apart;
    let others = rows.start + far..rows.end + far;
    tiles::<K, { ROWS / 2 }, T>(kernel, matrix, rows, apart, tokens);
    tiles::<K, { ROWS / 2 }, T>(kernel, matrix, others, apart, tokens);
}

/// Each of `rows` and those `apart`, 2 `apart`, … rows after it, `R` together, times `T` tokens.
///
/// # Safety
/// As for `matmul` with `T` tokens; the rows are of the matrix.
#[inline(never)]
unsafe fn tiles<K: Rows, const R: usize, const T: usize>(
    kernel: K,
    matrix: &Matrix,
    rows: Range<usize>,
    apart: usize,
    tokens: &Tokens,
) {
    let x = core::array::from_fn(|t| tokens.from(t).x);
    for r in rows {
        let tile = core::array::from_fn(|i| matrix.row(r + i * apart));
        let dots: [[f32; T]; R] = if T == 1 {
            dot_one(kernel, &tile, matrix.k, x[0]).map(|dot| [dot; T])
        } else {
            kernel.dot(tile, matrix.k, x)
        };
        for (i, dots) in dots.into_iter().enumerate() {
            for (t, dot) in dots.into_iter().enumerate() {
                tokens.from(t).out.wrapping_add(r + i * apart).write(dot);
            }
        }
    }
}

/// out[id] = row id . x for each of `n_ids` row ids; one token. Other elements are left alone.
///
/// # Safety
/// As for `matmul`; `ids` has `n_ids` rows of `w`.
#[no_mangle]
#[inline(never)]
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
    let ids = if n_ids == 0 { &[] } else { core::slice::from_raw_parts(ids, n_ids) };
    let row_bytes = packed_row_bytes(kind, k);
    for ids in ids.chunks(BROUGHT) {
        bring_rows(ids.iter().map(|&id| w.wrapping_add(id as usize * w_row_bytes)), row_bytes);
        with_rows!(kind, chosen(SUM_I32), pick([(); PICKED], w, w_row_bytes, ids, k, x, out));
    }
}

/// `matvec_rows` in shifted stack frames.
///
/// # Safety
/// As for `matvec_rows`.
#[no_mangle]
pub unsafe extern "C" fn matvec_rows_shifted(
    kind: u32,
    w: *const u8,
    w_row_bytes: usize,
    ids: *const u32,
    n_ids: usize,
    k: usize,
    x: *const u8,
    out: *mut f32,
) {
    shifted(|| matvec_rows(kind, w, w_row_bytes, ids, n_ids, k, x, out));
}

/// Rows picked side by side: each begins with a wait for memory, and they wait together. On Zen 4,
/// 4 rows read 6.4 GB/s, 8 7.5, 12 9.5, 16 9.2.
const PICKED: usize = 12;

/// Rows `ids` times one token, `R` of them at a time.
///
/// # Safety
/// As for `matvec_rows`.
#[inline(never)]
pub unsafe fn pick<K: Rows, const R: usize>(
    kernel: K,
    _at_once: [(); R],
    w: *const u8,
    w_row_bytes: usize,
    ids: &[u32],
    k: usize,
    x: *const u8,
    out: *mut f32,
) {
    let row = |id: u32| w.wrapping_add(id as usize * w_row_bytes);
    let put = |id: u32, dot: f32| out.wrapping_add(id as usize).write(dot);
    let (tiles, rest) = ids.as_chunks::<R>();
    for &ids in tiles {
        for (id, dot) in ids.into_iter().zip(dot_one(kernel, &ids.map(row), k, x)) {
            put(id, dot);
        }
    }
    for &id in rest {
        let [dot] = dot_one(kernel, &[row(id)], k, x);
        put(id, dot);
    }
}

/// `R` rows of `k` weights times one token: a kernel that is there once, whoever picks the rows.
///
/// # Safety
/// As for `Rows::dot`.
#[inline(never)]
pub unsafe fn dot_one<K: Rows, const R: usize>(
    kernel: K,
    rows: &[*const u8; R],
    k: usize,
    x: *const u8,
) -> [f32; R] {
    kernel.dot(*rows, k, [x]).map(|[dot]| dot)
}
