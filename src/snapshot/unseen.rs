//! Which transactions are processed but may be invisible to readers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Visibility;

/// Transactions whose changes the stream has told and that are not yet known to be visible to new snapshots. Clones
/// share the set.
///
/// A read that misses one of them is older than what was told. Ids are kept as bits, so that even a source that cannot
/// be asked for hours costs little: at most a bit for each id that it used meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Unseen(Arc<Mutex<Ids>>);

/// Bits by id, in blocks.
#[derive(Debug, Default)]
struct Ids(BTreeMap<u32, Box<[u64; WORDS]>>);

const WORDS: usize = 16;
const IDS: u32 = WORDS as u32 * 64;

impl Unseen {
    /// Adds transactions whose changes have been told, wholly or in part.
    pub fn processed(&self, xids: impl IntoIterator<Item = u32>) {
        let mut ids = self.ids();
        xids.into_iter().for_each(|xid| ids.add(xid));
    }

    /// Adds what was unseen at the position a restart goes on from: it is not told again, and may be invisible still.
    pub fn seed(&self, xids: impl IntoIterator<Item = u32>) {
        self.processed(xids);
    }

    /// Forgets what a snapshot of the source sees: every later one sees it too.
    pub fn learn(&self, sees: &Visibility) {
        self.ids().retain(|xid| !sees.sees(xid));
    }

    /// The transactions that a read must see.
    pub fn list(&self) -> Vec<u32> {
        self.ids().list()
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        // A panic cannot leave the bits half-changed in a way that matters: each is set or cleared by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ids {
    fn add(&mut self, xid: u32) {
        let at = xid % IDS;
        let block = self.0.entry(xid / IDS).or_insert_with(|| Box::new([0; WORDS]));
        block[at as usize / 64] |= 1 << (at % 64);
    }

    fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        self.0.retain(|block, words| {
            for (word, bits) in words.iter_mut().enumerate() {
                for xid in ones(*block, word, *bits) {
                    if !keep(xid) {
                        *bits &= !(1 << (xid % 64));
                    }
                }
            }
            words.iter().any(|bits| *bits != 0)
        });
    }

    fn list(&self) -> Vec<u32> {
        let mut all = Vec::new();
        for (block, words) in &self.0 {
            words.iter().enumerate().for_each(|(word, bits)| all.extend(ones(*block, word, *bits)));
        }
        all
    }
}

/// The ids that are set in a word.
fn ones(block: u32, word: usize, mut bits: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(block * IDS + word as u32 * 64 + bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_a_snapshot_sees_is_forgotten_and_memory_with_it() {
        let unseen = Unseen::default();
        unseen.seed([5]);
        unseen.processed([7, 1023, 1024, u32::MAX, 7]);
        assert_eq!(unseen.list(), [5, 7, 1023, 1024, u32::MAX]);
        unseen.learn(&"7:1024:7".parse().unwrap());
        assert_eq!(unseen.list(), [7, 1024], "the id before the first is the newest of the epoch before");
        unseen.learn(&"2000:2000:".parse().unwrap());
        assert_eq!(unseen.list(), [0; 0]);
        assert!(unseen.ids().0.is_empty(), "nothing is kept");
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(added in prop::collection::vec(0_u32..5000, 0..200), xmin in 0_u64..5000, running in prop::collection::vec(0_u64..5000, 0..20)) {
            let running = running.into_iter().filter(|id| *id >= xmin).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
            let sees: Visibility = format!("{xmin}:4000:{running}").parse().unwrap();
            let unseen = Unseen::default();
            unseen.processed(added.iter().copied());
            unseen.learn(&sees);
            let want: BTreeSet<u32> = added.into_iter().filter(|xid| !sees.sees(*xid)).collect();
            prop_assert_eq!(unseen.list(), want.into_iter().collect::<Vec<_>>());
        }
    }
}
