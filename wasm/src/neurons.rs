//! Neurons of one token whose rows of gate, up and down lie side by side.
//!
//! A predictor selects few neurons, all over the layer. Three rows in a row cost one wait for
//! memory where three matrices cost three, and what the CPU fetches ahead of a gate row is the
//! neuron's up row.

use crate::axpy::Dozen;
use crate::coefficients::ROWS;
use crate::elementwise::clear;
use crate::float::Floats;
use crate::gate::activate_one;
use crate::groups::Groups;
use crate::i8::Bytes;
use crate::layout;
use crate::matmul::{chosen, dot_one, with_rows, Rows, SUM_I32};
use crate::q4::Nibbles;
use crate::six::Sextets;
use crate::table::Numbers;

/// For each of `n_ids` neurons: gate[id] = its gate row . x; where that is positive up[id] = its
/// up row . x; where h = act(gate) * act'(up) is not zero, h * its down row is added to the sum of
/// its group, `group_of[id]`. Groups are summed as by `axpy_groups`, to the same bits; ids come
/// group by group, in the order of each. `act` as in `gated`. Writes how many up and how many
/// down rows were read into `read`.
///
/// # Safety
/// Neuron i's three packed rows of `k` weights follow one another from `w + i * neuron_bytes` on,
/// `neuron_bytes` being three times a row's; `x` is a row of activations as `matmul` takes it;
/// `gate`, `up` and `group_of` reach as far as the ids; `merges` has `n_groups` elements, `levels`
/// pointers to `k` floats each, as `axpy_groups` takes them; `read` has two integers.
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
    group_of: *const u32,
    merges: *const u32,
    n_groups: usize,
    levels: *const *mut f32,
    read: *mut u32,
) {
    let call = Call { act, w, neuron_bytes, k, x, gate, up, group_of };
    let groups = Groups::new(merges, n_groups, levels, 0, k);
    let [ups, downs] = with_rows!(kind, chosen(SUM_I32), compute(&call, ids, n_ids, groups));
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
    group_of: *const u32,
}

/// The sums of groups, as neurons fire.
struct Sums {
    groups: Groups,
    k: usize,
    dozen: Dozen,
}

impl Sums {
    /// # Safety
    /// The levels of the groups have `k` floats each.
    unsafe fn new(groups: Groups, k: usize) -> Sums {
        let sums = Sums { groups, k, dozen: Dozen::EMPTY };
        sums.begin();
        sums
    }

    /// # Safety
    /// As for `new`.
    unsafe fn begin(&self) {
        if !self.groups.done() {
            clear(self.groups.room(0), self.k);
        }
    }

    /// Takes a down row of a group, behind all those of earlier groups, and its coefficient.
    ///
    /// # Safety
    /// `row` is a packed row of the kind, of `k` weights.
    #[inline(always)]
    unsafe fn push<K: Rows>(&mut self, kernel: K, group: usize, row: *const u8, h: f32) {
        self.close(kernel, group);
        self.dozen.push(row, h);
        if self.dozen.length == ROWS {
            self.dozen.add(kernel, self.k, self.groups.room(0));
        }
    }

    /// Ends the groups before `group`.
    ///
    /// # Safety
    /// There are so many groups.
    #[inline(always)]
    unsafe fn close<K: Rows>(&mut self, kernel: K, group: usize) {
        while self.groups.index() < group {
            self.dozen.add(kernel, self.k, self.groups.room(0));
            self.groups.merge(0);
            self.groups.next();
            self.begin();
        }
    }
}

impl Call {
    /// Row `part` of a neuron: 0 gate, 1 up, 2 down.
    #[inline(always)]
    fn row(&self, id: u32, part: usize) -> *const u8 {
        self.w.wrapping_add(id as usize * self.neuron_bytes + part * (self.neuron_bytes / 3))
    }

    /// The products of row `part` of some neurons with x.
    ///
    /// # Safety
    /// `ids` are neurons, `part` below 3; `out` reaches as far as the ids.
    #[inline(always)]
    unsafe fn dots<K: Rows>(&self, kernel: K, ids: &[u32], part: usize, out: *mut f32) {
        if let Ok(ids) = <&[u32; ROWS]>::try_from(ids) {
            let rows = ids.map(|id| self.row(id, part));
            for (&id, dot) in ids.iter().zip(dot_one(kernel, &rows, self.k, self.x)) {
                out.add(id as usize).write(dot);
            }
            return;
        }
        for &id in ids {
            let [dot] = dot_one(kernel, &[self.row(id, part)], self.k, self.x);
            out.add(id as usize).write(dot);
        }
    }

    /// Up rows of some neurons; adds up those that fire, and returns how many do.
    ///
    /// # Safety
    /// `ids` are neurons whose gates are known, in the order of their groups.
    #[inline(never)]
    unsafe fn rise<K: Rows>(&self, kernel: K, ids: &[u32], sums: &mut Sums) -> u32 {
        self.dots(kernel, ids, 1, self.up);
        let mut fired = 0;
        for &id in ids {
            let h = activate_one(
                self.act,
                self.gate.add(id as usize).read(),
                self.up.add(id as usize).read(),
            );
            if h != 0.0 {
                fired += 1;
                let group = self.group_of.add(id as usize).read() as usize;
                sums.push(kernel, group, self.row(id, 2), h);
            }
        }
        fired
    }
}

/// # Safety
/// As for `neurons`.
#[inline(never)]
unsafe fn compute<K: Rows>(
    kernel: K,
    call: &Call,
    ids: *const u32,
    n_ids: usize,
    groups: Groups,
) -> [u32; 2] {
    let ids = if n_ids == 0 { &[] } else { core::slice::from_raw_parts(ids, n_ids) };
    let mut open = [0; ROWS];
    let mut length = 0;
    let end = groups.count();
    let mut sums = Sums::new(groups, call.k);
    let mut read = [0; 2];
    for dozen in ids.chunks(ROWS) {
        call.dots(kernel, dozen, 0, call.gate);
        for &id in dozen {
            if call.gate.add(id as usize).read() > 0.0 {
                open[length] = id;
                length += 1;
                if length == ROWS {
                    read[0] += length as u32;
                    read[1] += call.rise(kernel, &open, &mut sums);
                    length = 0;
                }
            }
        }
    }
    read[0] += length as u32;
    read[1] += call.rise(kernel, &open[..length], &mut sums);
    sums.close(kernel, end);
    read
}
