//! A set of transaction ids.
//!
//! Always: small where the ids lie close together, as those of one transaction's subtransactions do: a block of
//! exceptions caught once per row makes millions of them.

use std::collections::HashMap;

/// Ids that share a page.
const PAGE: u32 = 512;

/// Ids that share a word of a page.
const WORD: u32 = 64;

/// A set of transaction ids.
#[derive(Debug, Default)]
pub(super) struct Xids(HashMap<u32, [u64; (PAGE / WORD) as usize]>);

impl Xids {
    /// Adds one.
    pub(super) fn insert(&mut self, xid: u32) {
        let (word, bit) = place(xid);
        self.0.entry(xid / PAGE).or_default()[word] |= bit;
    }

    /// Whether it is in.
    pub(super) fn contains(&self, xid: u32) -> bool {
        let (word, bit) = place(xid);
        self.0.get(&(xid / PAGE)).is_some_and(|page| page[word] & bit != 0)
    }

    /// Whether none is.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The word within its page, and the bit within that.
fn place(xid: u32) -> (usize, u64) {
    ((xid % PAGE / WORD) as usize, 1 << (xid % WORD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_in_and_nothing_else() {
        let mut xids = Xids::default();
        assert!(xids.is_empty() && !xids.contains(0));
        let inside = [0, 1, 63, 64, 511, 512, 70_000, u32::MAX];
        inside.iter().for_each(|xid| xids.insert(*xid));
        assert!(inside.iter().all(|xid| xids.contains(*xid)) && !xids.is_empty());
        assert!([2, 62, 65, 510, 513, 69_999, 70_001, u32::MAX - 1].iter().all(|xid| !xids.contains(*xid)));
    }

    #[test]
    fn ids_that_lie_together_take_little() {
        let mut xids = Xids::default();
        (1_000_000..2_000_000).for_each(|xid| xids.insert(xid));
        assert!(xids.0.len() < 2_000, "{} pages", xids.0.len());
    }
}
