//! Neurons of one token whose rows of gate, up and down lie side by side.
//!
//! A predictor asks for few neurons, all over the layer. Three rows in a row cost one wait for memory where three matrices cost three, and what the CPU
//! fetches ahead of a gate row is the neuron's up row.

use crate::axpy::Dozen;
use crate::coefficients::ROWS;
use crate::float::Floats;
use crate::gate::activate_one;
use crate::i8::Bytes;
use crate::layout;
use crate::matmul::{chosen, with_rows, Rows, SUM_I32};
use crate::q4::Nibbles;

/// For each of `n_ids` neurons: gate[id] = its gate row . x; where that is positive up[id] = its up row . x; where h = act(gate) * act'(up) is not
/// zero, out += h * its down row. `act` as in `gated`. Writes how many up and how many down rows were read into `read`.
///
/// # Safety
/// Neuron i's three packed rows of `k` weights follow one another from `w + i * neuron_bytes` on, `neuron_bytes` being three times a row's;
/// `x` is a row of activations as `matmul` takes it; `gate` and `up` reach as far as the ids; `out` has `k` floats, `read` two integers.
#[no_mangle]
pub unsafe extern "C" fn neurons(
    kind: u32,
    act: u32,
    w: *const u8,
    neuron_bytes: usize,
    ids: *const u32,
    n_ids: usize,
    k: usize,
    x: *const u8,
    gate: *mut f32,
    up: *mut f32,
    out: *mut f32,
    read: *mut u32,
) {
    let call = Call { act, w, neuron_bytes, k, x, gate, up, out };
    let [ups, downs] = with_rows!(kind, chosen(SUM_I32), compute(&call, ids, n_ids));
    read.write(ups);
    read.add(1).write(downs);
}

struct Call {
    act: u32,
    w: *const u8,
    neuron_bytes: usize,
    k: usize,
    x: *const u8,
    gate: *mut f32,
    up: *mut f32,
    out: *mut f32,
}

impl Call {
    /// Row `part` of a neuron: 0 gate, 1 up, 2 down.
    #[inline(always)]
    fn row(&self, id: u32, part: usize) -> *const u8 {
        self.w.wrapping_add(id as usize * self.neuron_bytes + part * (self.neuron_bytes / 3))
    }

    /// The products of row `part` of some neurons with x.
    #[inline(always)]
    unsafe fn dots<K: Rows>(&self, ids: &[u32], part: usize, out: *mut f32) {
        if let Ok(ids) = <&[u32; ROWS]>::try_from(ids) {
            let dots: [[f32; 1]; ROWS] = K::dot(ids.map(|id| self.row(id, part)), self.k, [self.x]);
            for (&id, [dot]) in ids.iter().zip(dots) {
                out.add(id as usize).write(dot);
            }
            return;
        }
        for &id in ids {
            let [[dot]] = K::dot([self.row(id, part)], self.k, [self.x]);
            out.add(id as usize).write(dot);
        }
    }

    /// Up rows of some neurons; those that fire go to `firing`, which is added up whenever it is full.
    #[inline(never)]
    unsafe fn rise<K: Rows>(&self, ids: &[u32], firing: &mut Dozen) -> u32 {
        self.dots::<K>(ids, 1, self.up);
        let mut fired = 0;
        for &id in ids {
            let h = activate_one(
                self.act,
                self.gate.add(id as usize).read(),
                self.up.add(id as usize).read(),
            );
            if h != 0.0 {
                fired += 1;
                firing.push(self.row(id, 2), h);
                if firing.length == ROWS {
                    firing.add::<K>(self.k, self.out);
                }
            }
        }
        fired
    }
}

#[inline(never)]
unsafe fn compute<K: Rows>(call: &Call, ids: *const u32, n_ids: usize) -> [u32; 2] {
    let ids = if n_ids == 0 { &[] } else { core::slice::from_raw_parts(ids, n_ids) };
    let mut open = [0; ROWS];
    let mut length = 0;
    let mut firing = Dozen::EMPTY;
    let mut read = [0; 2];
    for dozen in ids.chunks(ROWS) {
        call.dots::<K>(dozen, 0, call.gate);
        for &id in dozen {
            if call.gate.add(id as usize).read() > 0.0 {
                open[length] = id;
                length += 1;
                if length == ROWS {
                    read[0] += length as u32;
                    read[1] += call.rise::<K>(&open, &mut firing);
                    length = 0;
                }
            }
        }
    }
    read[0] += length as u32;
    read[1] += call.rise::<K>(&open[..length], &mut firing);
    firing.add::<K>(call.k, call.out);
    read
}
