//! Attention over a paged KV cache, for the query heads that share a KV head and the tokens of one
//! sequence.
//!
//! Rows, a query head of a token each, go by in passes of up to 16 (fewer of heads larger than
//! 256), so that a page is read once for all of them: four tiles of four rows while it is in the
//! cache. A page's keys and values are read together, in sequence; what was summed up before is
//! scaled down when a larger score comes (Milakov and Gimelshein 2018, "Online normalizer
//! calculation for softmax").

use core::mem::MaybeUninit;
use core::ops::Range;

use crate::elementwise::softened;
use crate::exp::{exp_negative, exp_negatives};
use crate::kv::*;
use crate::panel::{Cache, Floats, Words, Q8_0, TILE};
use crate::simd::*;

/// Tiles of a pass, at most.
const TILES: usize = 4;

/// Elements of a head, at most.
const MAX_HEAD: usize = 1024;

struct Call {
    q: *const f32,
    q_stride: usize,
    n_heads: usize,
    head_dim: usize,
    pages: *const *const u8,
    n_positions: usize,
    window: usize,
    scale: f32,
    cap: f32,
    /// Of each head, or null.
    sinks: *const f32,
    out: *mut f32,
    out_stride: usize,
}

/// out[t][h] = softmax(scale * q[t][h] . K) V over the positions that token t sees: those before
/// `n_positions + t`, the last `window` of them where that is not 0. Where `cap` is not 0, scores s
/// become cap * tanh(s / cap). Where `sinks` is not null, the softmax of head h has one more score,
/// `sinks[h]`, of no value. Returns how many positions were read, all passes together.
///
/// Page i is at `pages[i]`, as `kv_store` writes it in `cache_type` (0 f32, 1 f16, 2
/// q8_0). Strides are in floats.
///
/// # Safety
/// `q` and `out` have `n_tokens` rows of `n_heads * head_dim` floats, head_dim at most 1024;
/// `n_positions` is at least 1; `pages` covers the positions; `sinks` is null or has `n_heads` floats.
#[no_mangle]
pub unsafe extern "C" fn attention(
    cache_type: u32,
    q: *const f32,
    q_stride: usize,
    n_tokens: usize,
    n_heads: usize,
    head_dim: usize,
    pages: *const *const u8,
    n_positions: usize,
    window: usize,
    scale: f32,
    cap: f32,
    sinks: *const f32,
    out: *mut f32,
    out_stride: usize,
) -> usize {
    let call = &Call {
        q,
        q_stride,
        n_heads,
        head_dim,
        pages,
        n_positions,
        window,
        scale,
        cap,
        sinks,
        out,
        out_stride,
    };
    let tiles = (MAX_HEAD / head_dim.next_multiple_of(BLOCK)).clamp(1, TILES);
    let n_rows = n_tokens * n_heads;
    let mut positions = 0;
    for first in (0..n_rows).step_by(tiles * TILE) {
        let rows = first..n_rows.min(first + tiles * TILE);
        positions += match cache_type {
            F32 => pass::<Floats>(call, rows),
            F16 => pass::<Words>(call, rows),
            _ => pass::<Q8_0>(call, rows),
        };
    }
    positions
}

impl Call {
    /// The positions that a row sees.
    fn sees(&self, row: usize) -> Range<usize> {
        let end = self.n_positions + row / self.n_heads;
        let start = if self.window == 0 { 0 } else { end.saturating_sub(self.window) };
        start..end
    }

    /// Elements of a row: their offset in an array of the given stride.
    fn offset(&self, row: usize, stride: usize) -> usize {
        row / self.n_heads * stride + row % self.n_heads * self.head_dim
    }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes of pages that are asked for at once.
const TOUCHED: usize = 128 * 1024;

/// Asks for all lines of pages that are needed next, as many at a time as the CPU can wait for: what
/// is computed with a line takes so many instructions that it asks for few of them ahead.
///
/// # Safety
/// As for `attention`; `pages` are some of the call, of so many bytes.
#[inline(never)]
unsafe fn touch(call: &Call, pages: Range<usize>, bytes: usize) {
    let mut sum = 0u32;
    for page in pages {
        let from = call.pages.add(page).read();
        for line in (0..bytes).step_by(LINE) {
            sum = sum.wrapping_add(from.add(line).cast::<u32>().read());
        }
    }
    opaque(sum); // V8 leaves out loads whose result is not used.
}

/// Up to four rows: a lane each.
#[derive(Clone, Copy)]
struct Tile {
    first: usize,
    rows: usize,
    /// Positions that each row sees, i32.
    starts: v128,
    ends: v128,
    /// What its scores are multiplied by.
    factor: v128,
    /// 0, or what they stay below; in all lanes.
    cap: f32,
    largest: v128,
    sum: v128,
    /// `[head_dim, up to a multiple of 32]`, a lane a row.
    queries: *mut v128,
    /// `[panel][rows][8 columns]`.
    out: *mut v128,
}

/// # Safety
/// As for `attention`; `rows` are some of the call, at most `TILES * TILE`.
unsafe fn pass<C: Cache>(call: &Call, rows: Range<usize>) -> usize {
    let width = call.head_dim.next_multiple_of(BLOCK);
    let mut queries = [MaybeUninit::<v128>::uninit(); MAX_HEAD];
    let mut out = [MaybeUninit::<v128>::uninit(); MAX_HEAD];
    let mut tiles = [MaybeUninit::<Tile>::uninit(); TILES];
    let n_tiles = rows.len().div_ceil(TILE);
    for (i, tile) in tiles[..n_tiles].iter_mut().enumerate() {
        let first = rows.start + TILE * i;
        let rows = TILE.min(rows.end - first);
        let queries = queries.as_mut_ptr().add(width * i).cast();
        let out = out.as_mut_ptr().add(width * i).cast();
        tile.write(Tile::new::<C>(call, first, rows, queries, out));
    }
    let positions = call.sees(rows.start).start..call.sees(rows.end - 1).end;
    let pages = positions.start / PAGE..positions.end.div_ceil(PAGE);
    let page_bytes = 2 * side_bytes(C::TYPE, call.head_dim);
    let mut touched = pages.start;
    for page in pages.clone() {
        if page == touched {
            touched = pages.end.min(page + (TOUCHED / page_bytes).max(1));
            touch(call, page..touched, page_bytes);
        }
        let first = page * PAGE;
        let slots = positions.start.saturating_sub(first)..PAGE.min(positions.end - first);
        let keys = call.pages.add(page).read();
        for tile in &mut tiles[..n_tiles] {
            let tile = tile.assume_init_mut();
            match tile.rows {
                1 => tile.read_page::<C, 1>(keys, call.head_dim, first, slots.clone()),
                2 => tile.read_page::<C, 2>(keys, call.head_dim, first, slots.clone()),
                _ => tile.read_page::<C, 4>(keys, call.head_dim, first, slots.clone()),
            }
        }
    }
    for tile in &tiles[..n_tiles] {
        tile.assume_init_ref().write(call);
    }
    positions.len()
}

impl Tile {
    /// # Safety
    /// As for `attention`; `queries` and `out` have `head_dim` vectors, rounded up to a multiple of
    /// 32.
    unsafe fn new<C: Cache>(
        call: &Call,
        first: usize,
        rows: usize,
        queries: *mut v128,
        out: *mut v128,
    ) -> Tile {
        let d = call.head_dim;
        let width = d.next_multiple_of(BLOCK);
        let mut starts = [0i32; TILE];
        // Rows that are not there see all positions, so that none is tested on their account.
        let mut ends = [i32::MAX; TILE];
        // `out` is as large as the queries, or smaller.
        for i in 0..width {
            store(queries.add(i), zero());
            store(out.add(i), zero());
        }
        // The softmax begins with the sinks, where there are some.
        let has_sinks = !call.sinks.is_null();
        let mut largest = [f32::MIN; TILE];
        for r in 0..rows {
            if has_sinks {
                largest[r] = call.sinks.add((first + r) % call.n_heads).read();
            }
            let sees = call.sees(first + r);
            (starts[r], ends[r]) = (sees.start as i32, sees.end as i32);
            let q = call.q.add(call.offset(first + r, call.q_stride));
            for i in 0..d {
                queries.cast::<f32>().add(TILE * i + r).write(q.add(i).read());
            }
        }
        let factor = f32x4_mul(C::prepare(queries, d), f32x4_splat(call.scale));
        Tile {
            first,
            rows,
            starts: load(starts.as_ptr()),
            ends: load(ends.as_ptr()),
            factor,
            cap: call.cap,
            largest: load(largest.as_ptr()),
            sum: if has_sinks { f32x4_splat(1.0) } else { zero() },
            queries,
            out,
        }
    }

    /// Adds a page whose first position is `first`; of its positions, the slots are seen by some
    /// row of the pass.
    ///
    /// # Safety
    /// `keys` is a page of the cache's type of heads of `d` elements; `slots` are of one page.
    #[inline(never)]
    unsafe fn read_page<C: Cache, const R: usize>(
        &mut self,
        keys: *const u8,
        d: usize,
        first: usize,
        slots: Range<usize>,
    ) {
        let mut scores = [zero(); PAGE];
        let panels = slots.start / PANEL..slots.end.div_ceil(PANEL);
        C::scores::<R>(self.queries, keys, d, panels.clone(), &mut scores);
        let in_panels = PANEL * panels.start..PANEL * panels.end;
        let position = first + in_panels.start;
        let seen = &mut scores[in_panels];
        let shrink = if self.cap == 0.0 {
            self.soften(position, self.factor, seen)
        } else {
            self.cap_scores(seen);
            self.soften(position, f32x4_splat(1.0), seen)
        };
        let values = keys.wrapping_add(side_bytes(C::TYPE, d));
        C::add_values::<R>(&scores, values, d, slots, shrink, self.out);
    }

    /// Makes capped scores of products.
    #[inline(never)]
    fn cap_scores(&self, scores: &mut [v128]) {
        for score in scores.iter_mut() {
            *score = softened(f32x4_mul(*score, self.factor), f32x4_splat(self.cap));
        }
    }

    /// Makes weights of scores, of a multiple of four positions from `first` on: exp(score * factor -
    /// the largest so far), 0 of positions that a row does not see. Returns what former weights
    /// shrink by.
    #[inline(always)]
    fn soften(&mut self, first: usize, factor: v128, scores: &mut [v128]) -> v128 {
        let mut largest = self.largest;
        if self.sees_all(first..first + scores.len()) {
            for score in scores.iter_mut() {
                *score = f32x4_mul(*score, factor);
                largest = f32x4_pmax(largest, *score);
            }
        } else {
            let mut position = i32x4_splat(first as i32);
            for score in scores.iter_mut() {
                let started = v128_not(i32x4_gt(self.starts, position));
                let seen = v128_and(i32x4_gt(self.ends, position), started);
                let unseen = f32x4_splat(f32::NEG_INFINITY);
                *score = v128_bitselect(f32x4_mul(*score, factor), unseen, seen);
                largest = f32x4_pmax(largest, *score);
                position = i32x4_add(position, i32x4_splat(1));
            }
        }
        let shrink = exp_negative(f32x4_sub(self.largest, largest));
        let mut sum = f32x4_mul(self.sum, shrink);
        for scores in scores.as_chunks_mut::<4>().0 {
            *scores = exp_negatives(scores.map(|score| f32x4_sub(score, largest)));
            for &mut e in scores {
                sum = f32x4_add(sum, e);
            }
        }
        self.largest = largest;
        self.sum = sum;
        shrink
    }

    /// Whether each row sees all of the positions.
    #[inline(always)]
    fn sees_all(&self, positions: Range<usize>) -> bool {
        let [first, end] = [positions.start, positions.end].map(|at| i32x4_splat(at as i32));
        let unseen = v128_or(i32x4_gt(self.starts, first), i32x4_gt(end, self.ends));
        !v128_any_true(unseen)
    }

    /// # Safety
    /// As for `attention`.
    unsafe fn write(&self, call: &Call) {
        let d = call.head_dim;
        let mut inverse = [0f32; TILE];
        store(inverse.as_mut_ptr(), f32x4_div(f32x4_splat(1.0), self.sum));
        // Three rows are computed as four.
        let stride = if self.rows == 3 { 4 } else { self.rows };
        for r in 0..self.rows {
            let to = call.out.add(call.offset(self.first + r, call.out_stride));
            for j in 0..d {
                let from = (j / PANEL * stride + r) * PANEL + j % PANEL;
                to.add(j).write(self.out.cast::<f32>().add(from).read() * inverse[r]);
            }
        }
    }
}
