//! Rotary position embedding.

use crate::simd::*;

/// Rotates the pairs (2i, 2i + 1), i < n_rot / 2, of each head of one token in place by the angle
/// whose cosine and sine are `cos_sin[2i], cos_sin[2i + 1]`.
///
/// # Safety
/// `x` has `n_heads * head_dim` floats, `cos_sin` has `n_rot`, `n_rot <= head_dim` is even.
#[no_mangle]
pub unsafe extern "C" fn rope(
    x: *mut f32,
    n_heads: usize,
    head_dim: usize,
    n_rot: usize,
    cos_sin: *const f32,
) {
    let signs = f32x4(-1.0, 1.0, -1.0, 1.0);
    let body = n_rot / 4 * 4;
    for head in 0..n_heads {
        let x = x.wrapping_add(head * head_dim);
        for i in (0..body).step_by(4) {
            let (v, angle) = (load(x.add(i)), load(cos_sin.add(i)));
            let swapped = i32x4_shuffle::<1, 0, 3, 2>(v, v);
            let cos = i32x4_shuffle::<0, 0, 2, 2>(angle, angle);
            let sin = f32x4_mul(i32x4_shuffle::<1, 1, 3, 3>(angle, angle), signs);
            store(x.add(i), f32x4_add(f32x4_mul(v, cos), f32x4_mul(swapped, sin)));
        }
        for i in (body..n_rot).step_by(2) {
            let (a, b) = (x.add(i).read(), x.add(i + 1).read());
            let (cos, sin) = (cos_sin.add(i).read(), cos_sin.add(i + 1).read());
            x.add(i).write(a * cos - b * sin);
            x.add(i + 1).write(b * cos + a * sin);
        }
    }
}
