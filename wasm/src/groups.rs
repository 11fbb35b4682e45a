//! Sums of groups of rows, added along a fixed binary tree.
//!
//! A layer's neurons are cut into groups, whatever threads hold them, so that a token's sum over
//! them is rounded the same way for any number of threads. A thread goes through its groups as
//! through the leaves of the tree: it puts the sum of each on a stack, of which it then adds up
//! the two on top as often as subtrees end there that are its own (`merges`). What is left at
//! the end, one sum where the thread holds a whole subtree, is what it hands over.

use crate::elementwise::add;

/// The groups of one thread, gone through one by one; each has a sum for every token.
pub struct Groups {
    merges: *const u32,
    count: usize,
    /// The stack: place i of it has a row of `k` floats for each token.
    levels: *const *mut f32,
    stride: usize,
    k: usize,
    index: usize,
    depth: usize,
}

impl Groups {
    pub fn new(
        merges: *const u32,
        count: usize,
        levels: *const *mut f32,
        stride: usize,
        k: usize,
    ) -> Groups {
        Groups { merges, count, levels, stride, k, index: 0, depth: 0 }
    }

    /// The group at hand.
    pub fn index(&self) -> usize {
        self.index
    }

    /// All of them.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn done(&self) -> bool {
        self.index == self.count
    }

    /// Where the sum of the group at hand goes for token `t`. One that is merged at once needs no
    /// room beside those of other tokens.
    ///
    /// # Safety
    /// The levels are as deep as the stack gets.
    pub unsafe fn room(&self, t: usize) -> *mut f32 {
        let kept = self.merges() == 0;
        self.row(self.depth, if kept { t } else { 0 })
    }

    /// Adds up what ends with the group at hand for token `t`, whose sum is in `room(t)`.
    ///
    /// # Safety
    /// The levels have the token's rows.
    pub unsafe fn merge(&self, t: usize) {
        let mut from = self.room(t);
        for level in (self.depth - self.merges()..self.depth).rev() {
            let into = self.row(level, t);
            add(into, from, self.k);
            from = into;
        }
    }

    /// Goes on to the next group, when all tokens are done with this one.
    ///
    /// # Safety
    /// There is one at hand.
    pub unsafe fn next(&mut self) {
        self.depth = self.depth + 1 - self.merges();
        self.index += 1;
    }

    /// # Safety
    /// There is a group at hand.
    unsafe fn merges(&self) -> usize {
        self.merges.add(self.index).read() as usize
    }

    /// # Safety
    /// The stack has such a level, of as many tokens.
    unsafe fn row(&self, level: usize, t: usize) -> *mut f32 {
        self.levels.add(level).read().wrapping_add(t * self.stride)
    }
}
