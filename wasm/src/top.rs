//! The largest of many floats.

use crate::simd::*;

/// The most that can be asked for.
pub const MOST: usize = 256;

/// Orders as values do, NaN above all, and the lower of two ids with equal values above the other.
#[inline(always)]
fn key(value: f32, id: u32) -> u64 {
    let bits = (value + 0.0).to_bits(); // -0 is 0
    let order = match bits >> 31 {
        _ if value.is_nan() => u32::MAX,
        0 => bits | 1 << 31,
        _ => !bits,
    };
    u64::from(order) << 32 | u64::from(!id)
}

/// Puts `key` in the place of the least of a heap.
fn replace_least(heap: &mut [u64], key: u64) {
    let mut at = 0;
    loop {
        let child = 2 * at + 1;
        let Some(mut least) = heap.get(child).copied() else {
            break;
        };
        let mut from = child;
        if let Some(&other) = heap.get(child + 1) {
            if other < least {
                (least, from) = (other, child + 1);
            }
        }
        if least >= key {
            break;
        }
        heap[at] = least;
        at = from;
    }
    heap[at] = key;
}

/// Writes the ids of the `k` largest of `n` values, all of them where there are fewer: the largest
/// first, the lower id first among equals, NaN before all others. `k` is at most `MOST`. Returns how
/// many.
///
/// # Safety
/// `values` has `n` floats; `ids` has room for `k`.
#[no_mangle]
pub unsafe extern "C" fn largest(values: *const f32, n: usize, k: usize, ids: *mut u32) -> usize {
    let key_of = |i: usize| key(values.add(i).read(), i as u32);
    let k = k.min(n).min(MOST);
    let mut keys = [0; MOST];
    let heap = &mut keys[..k];
    for (i, key) in heap.iter_mut().enumerate() {
        *key = key_of(i);
    }
    heap.sort_unstable(); // Sorted keys are a heap.
    let least_of = |heap: &[u64]| {
        let id = heap.first().map_or(0, |&least| !(least as u32));
        f32x4_splat(values.add(id as usize).read())
    };
    let offer = |heap: &mut [u64], i: usize| {
        let key = key_of(i);
        if heap.first().is_some_and(|&least| key > least) {
            replace_least(heap, key);
        }
    };
    let mut i = k;
    if k > 0 {
        let mut least = least_of(heap);
        while i + 16 <= n {
            let four = |j: usize| f32x4_le(load(values.add(i + 4 * j)), least);
            let below = v128_and(v128_and(four(0), four(1)), v128_and(four(2), four(3)));
            if !i32x4_all_true(below) {
                for j in i..i + 16 {
                    offer(heap, j);
                }
                least = least_of(heap);
            }
            i += 16;
        }
    }
    for j in i..n {
        offer(heap, j);
    }
    heap.sort_unstable();
    for (i, key) in heap.iter().rev().enumerate() {
        ids.add(i).write(!(*key as u32));
    }
    k
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By sorting all.
    fn sorted(values: &[f32], k: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..values.len() as u32).collect();
        ids.sort_by(|&a, &b| {
            let [x, y] = [a, b].map(|id| values[id as usize]);
            (y.is_nan().cmp(&x.is_nan()))
                .then(y.partial_cmp(&x).unwrap_or(core::cmp::Ordering::Equal))
                .then(a.cmp(&b))
        });
        ids.truncate(k);
        ids
    }

    #[test]
    fn finds_what_sorting_finds() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(0x915f_77f5).wrapping_add(12345);
            state >> 8
        };
        for round in 0..300 {
            let n = next() as usize % 200;
            let odd = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0];
            let values: Vec<f32> = (0..n)
                .map(|_| match round % 3 {
                    0 => next() as f32 - 8e6,
                    1 => (next() % 5) as f32 - 2.0,
                    _ => *odd.get(next() as usize % 40).unwrap_or(&(next() as f32 - 8e6)),
                })
                .collect();
            for k in [0, 1, 2, 40, 256] {
                let mut ids = vec![0; k.min(n)];
                let count = unsafe { largest(values.as_ptr(), n, k, ids.as_mut_ptr()) };
                assert_eq!(count, ids.len());
                assert_eq!(ids, sorted(&values, k));
            }
        }
    }
}
