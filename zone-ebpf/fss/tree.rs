//! The tournament: which zone is to be served next, found in one look, kept in as many steps as the tree is deep.
//!
//! Several CPUs change it at once, without a lock. Whoever writes a node looks at its two children again afterwards, and
//! does it over if they have changed meanwhile: so whoever writes a node last has seen what is below it.

use aya_ebpf::{btf_maps::Array, cty::c_void, helpers::bpf_loop, macros::btf_map};
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

/// The first of all that were looked at beside the way from a slot to the root.
struct Look {
    slot: u32,
    best: u32,
    key: u64,
}

/// The node so many levels above a slot's leaf.
#[inline(always)]
const fn above(slot: u32, levels: u32) -> u32 {
    (MAX_SLOTS + (slot & (MAX_SLOTS - 1))) >> (levels & 31)
}

/// A slot's, or node's, number where it is used. The compiler knows more than the verifier, and would leave away what that one
/// wants to see.
#[inline(always)]
fn within(number: u32) -> usize {
    (core::hint::black_box(number) & (MAX_SLOTS - 1)) as usize
}

/// Calls a function for each level, until it returns something but 0. The verifier knows nothing of a level, so it looks at
/// such a function twice, and at a loop as often as it turns.
#[inline(always)]
fn every_level<T>(function: *mut c_void, state: *mut T) {
    // SAFETY: the function is one that the helper can call, and takes that state.
    unsafe { bpf_loop(DEPTH, function, state.cast(), 0) };
}

/// Called for each level.
#[unsafe(no_mangle)]
extern "C" fn step_up(level: u32, slot: *mut u32) -> i64 {
    // SAFETY: `climb` hands it over.
    match (Tree::get(), unsafe { slot.as_ref() }) {
        (Some(tree), Some(slot)) => i64::from(!tree.step_up(level, *slot)),
        _ => 1,
    }
}

/// Called for each slot.
#[unsafe(no_mangle)]
extern "C" fn clear(n: u32, _: *mut c_void) -> i64 {
    match Tree::get() {
        Some(tree) => {
            tree.clear(n);
            0
        }
        None => 1,
    }
}

/// Called for each level.
#[unsafe(no_mangle)]
extern "C" fn look_beside(level: u32, look: *mut Look) -> i64 {
    // SAFETY: `first_but` hands it over.
    match (Tree::get(), unsafe { look.as_mut() }) {
        (Some(tree), Some(look)) => {
            tree.look_beside(level, look);
            0
        }
        _ => 1,
    }
}

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
        unsafe { (&raw mut (*self.0).keys).cast::<u64>().add(within(slot)) }
    }

    #[inline(always)]
    fn winner_at(self, node: u32) -> *mut u32 {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.0).winners).cast::<u32>().add(within(node)) }
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
        let mut look = Look { slot, best: 0, key: NOBODY };
        every_level(look_beside as *mut c_void, &raw mut look);
        (look.best, look.key)
    }

    #[inline(always)]
    fn look_beside(self, level: u32, look: &mut Look) {
        let other = self.winner(above(look.slot, level) ^ 1);
        let key = self.key(other);
        if before(key, look.key) {
            (look.best, look.key) = (other, key);
        }
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
        let mut slot = slot;
        every_level(step_up as *mut c_void, &raw mut slot);
    }

    /// Puts a node above a slot right. Whether it matters further up.
    #[inline(always)]
    fn step_up(self, level: u32, slot: u32) -> bool {
        let node = above(slot, level + 1);
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
        before != winner || winner == slot
    }

    /// The better of a node's two children.
    #[inline(always)]
    fn better(self, node: u32) -> u32 {
        let (a, b) = (self.winner(node << 1), self.winner(node << 1 | 1));
        if before(self.key(b), self.key(a)) { b } else { a }
    }

    /// Makes it the tree that it is when nobody has anything to run: each node's first is one that is below it.
    #[inline(always)]
    pub(crate) fn empty() {
        // SAFETY: the function is one that the helper can call.
        unsafe { bpf_loop(MAX_SLOTS, clear as *mut c_void, core::ptr::null_mut(), 0) };
    }

    /// Step `n` of as many as there are slots.
    #[inline(always)]
    fn clear(self, n: u32) {
        // SAFETY: as above.
        unsafe { self.key_at(n).write_volatile(NOBODY) }
        // From the leaves to the root. (There is no node 0.)
        let node = MAX_SLOTS - 1 - n;
        let below = self.winner(node << 1);
        // SAFETY: as above.
        unsafe { self.winner_at(node).write_volatile(below) }
    }
}
