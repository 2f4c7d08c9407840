//! The tournament: which zone is to be served next, found in one look, kept in as many steps as the tree is deep.
//!
//! Several CPUs change it at once, without a lock. Whoever writes a node looks at its two children again afterwards, and
//! does it over if they have changed meanwhile: so whoever writes a node last has seen what is below it.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use zone_ebpf_abi::{
    MAX_SLOTS,
    fss::{FssTree, NOBODY, before},
};

use crate::atomic;

#[btf_map(name = "fss_tree")]
static TREE: Array<FssTree, 1> = Array::new();

/// Levels of inner nodes.
const DEPTH: u32 = MAX_SLOTS.ilog2();

/// How often a node is done over. Others that change what is below it do it as well.
const ATTEMPTS: u32 = 4;

#[derive(Clone, Copy)]
pub(crate) struct Tree(*mut FssTree);

impl Tree {
    #[inline(always)]
    pub(crate) fn get() -> Option<Self> {
        TREE.get_ptr_mut(0).map(Tree)
    }

    /// Key of a slot.
    #[inline(always)]
    pub(crate) fn key(self, slot: u32) -> u64 {
        // SAFETY: the index is below the length; the word is read whole.
        unsafe { self.key_at(slot).read_volatile() }
    }

    #[inline(always)]
    fn key_at(self, slot: u32) -> *mut u64 {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.0).keys).cast::<u64>().add((slot & (MAX_SLOTS - 1)) as usize) }
    }

    #[inline(always)]
    fn winner_at(self, node: u32) -> *mut u32 {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.0).winners).cast::<u32>().add((node & (MAX_SLOTS - 1)) as usize) }
    }

    /// The slot below a node that is first.
    #[inline(always)]
    fn winner(self, node: u32) -> u32 {
        if node >= MAX_SLOTS {
            return node - MAX_SLOTS;
        }
        // SAFETY: as above.
        unsafe { self.winner_at(node).read_volatile() }
    }

    /// The slot that is first, with its key, which is [`NOBODY`] if nobody has anything to run.
    #[inline(always)]
    pub(crate) fn first(self) -> (u32, u64) {
        let slot = self.winner(1);
        (slot, self.key(slot))
    }

    /// The first of all but one slot.
    #[inline(always)]
    pub(crate) fn first_but(self, slot: u32) -> (u32, u64) {
        let mut node = MAX_SLOTS + (slot & (MAX_SLOTS - 1));
        let (mut best, mut key) = (0, NOBODY);
        let mut level = 0;
        while level < DEPTH {
            let other = self.winner(node ^ 1);
            let other_key = self.key(other);
            if before(other_key, key) {
                (best, key) = (other, other_key);
            }
            node >>= 1;
            level += 1;
        }
        (best, key)
    }

    /// Gives a slot another key.
    #[inline(always)]
    pub(crate) fn set(self, slot: u32, key: u64) {
        if atomic::swap(self.key_at(slot), key) != key {
            self.climb(slot);
        }
    }

    #[inline(always)]
    fn climb(self, slot: u32) {
        let mut node = MAX_SLOTS + (slot & (MAX_SLOTS - 1));
        let mut level = 0;
        while level < DEPTH {
            node >>= 1;
            let mut winner = self.better(node);
            let mut before = atomic::swap32(self.winner_at(node), winner);
            let mut attempt = 1;
            while attempt < ATTEMPTS {
                let again = self.better(node);
                if again == winner {
                    break;
                }
                winner = again;
                before = atomic::swap32(self.winner_at(node), winner);
                attempt += 1;
            }
            // Nothing above depends on a slot that neither was nor is first here.
            if before == winner && winner != slot {
                return;
            }
            level += 1;
        }
    }

    /// The better of a node's two children.
    #[inline(always)]
    fn better(self, node: u32) -> u32 {
        let (a, b) = (self.winner(node << 1), self.winner(node << 1 | 1));
        if before(self.key(b), self.key(a)) { b } else { a }
    }

    /// Step `n` of as many as there are slots to the tree as it is when nobody has anything to run: each node's first is one
    /// that is below it.
    #[inline(always)]
    pub(crate) fn clear(self, n: u32) {
        // SAFETY: as above.
        unsafe { self.key_at(n).write_volatile(NOBODY) }
        // From the leaves to the root. (There is no node 0.)
        let node = MAX_SLOTS - 1 - n;
        let below = self.winner(node << 1);
        // SAFETY: as above.
        unsafe { self.winner_at(node).write_volatile(below) }
    }
}
