//! The one number that bounds memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A pool of bytes that may be held at once. Clones share the pool.
///
/// Counted in units of 1 KiB, rounded up, so that a pool of up to 4 TiB fits the semaphore's counters.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    total: u32,
    waiting: Arc<watch::Sender<u32>>,
    lent: Arc<AtomicU64>,
}

/// A share of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Permit(
    #[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
    #[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
);

/// A part of a [`Budget`] that some of its users must do with, so that something is left for the others. Clones share
/// the part.
#[derive(Clone, Debug)]
pub struct BudgetPart {
    part: Budget,
    whole: Budget,
}

const UNIT: usize = 1024;

/// One who waits, for as long as it does.
struct Waiting<'a>(&'a watch::Sender<u32>);

impl<'a> Waiting<'a> {
    fn new(count: &'a watch::Sender<u32>) -> Self {
        count.send_modify(|count| *count += 1);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Budget {
    /// A pool of that many bytes, at least one unit.
    pub fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1);
        Budget {
            units: Arc::new(Semaphore::new(total as usize)),
            total,
            waiting: Arc::new(watch::Sender::new(0)),
            lent: Arc::default(),
        }
    }

    /// Waits until that many bytes are free, in order of asking. A request larger than the whole pool waits for all
    /// of it, so that a single row larger than the budget passes alone instead of never.
    pub async fn take(&self, bytes: usize) -> Permit {
        if let Some(permit) = self.try_take(bytes) {
            return permit;
        }
        let _waiting = Waiting::new(&self.waiting);
        Permit(self.acquire(bytes).await, None)
    }

    async fn acquire(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permit = self.units.clone().acquire_many_owned(self.units_of(bytes)).await.ok();
        self.count(bytes);
        permit
    }

    fn count(&self, bytes: usize) {
        // Relaxed: a count that stands for itself.
        self.lent.fetch_add(bytes as u64, Relaxed);
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.total)
    }

    /// A part of it of that many bytes.
    pub fn part(&self, bytes: usize) -> BudgetPart {
        BudgetPart { part: Budget::new(bytes.min(self.total())), whole: self.clone() }
    }

    /// How many wait for bytes. Whoever holds bytes that nobody is at work on must let go of them then, or everybody
    /// waits for ever.
    pub fn waiting(&self) -> watch::Receiver<u32> {
        self.waiting.subscribe()
    }

    /// Takes that many bytes if they are free at once. See [`Budget::take`].
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        self.try_acquire(bytes).map(|permit| Permit(Some(permit), None))
    }

    fn try_acquire(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permit = self.units.clone().try_acquire_many_owned(self.units_of(bytes)).ok()?;
        self.count(bytes);
        Some(permit)
    }

    /// Bytes in use now.
    pub fn used(&self) -> usize {
        (self.total as usize).saturating_sub(self.units.available_permits()) * UNIT
    }

    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.total as usize * UNIT
    }

    /// Bytes that were ever asked for and given.
    pub fn lent(&self) -> u64 {
        self.lent.load(Relaxed)
    }
}

impl BudgetPart {
    /// Waits until that many bytes are free in the part, and then in the whole. Does not count as
    /// [waiting](Budget::waiting): nobody needs to let go of anything for it.
    pub async fn take(&self, bytes: usize) -> Permit {
        let part = self.part.acquire(bytes).await;
        // No more than the part has: the rest of the whole is for others.
        Permit(part, self.whole.acquire(bytes.min(self.part.total())).await)
    }

    /// Takes that many bytes if they are free at once.
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        let part = self.part.try_acquire(bytes)?;
        let whole = self.whole.try_acquire(bytes.min(self.part.total()))?;
        Some(Permit(Some(part), Some(whole)))
    }

    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.part.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shares_come_back_and_a_giant_passes_alone() {
        let budget = Budget::new(4 * UNIT);
        let small = budget.take(1).await;
        assert_eq!(budget.used(), UNIT);
        assert!(budget.try_take(100 * UNIT).is_none(), "a giant waits for the whole pool");
        drop(small);
        let giant = budget.take(100 * UNIT).await;
        assert_eq!(budget.used(), budget.total());
        drop(giant);
        assert_eq!((budget.used(), budget.lent()), (0, 1 + 100 * UNIT as u64));
    }

    #[tokio::test]
    async fn a_part_leaves_something_for_others() {
        let budget = Budget::new(4 * UNIT);
        let part = budget.part(2 * UNIT);
        let giant = part.take(100 * UNIT).await;
        assert_eq!(budget.used(), 2 * UNIT);
        assert!(part.try_take(1).is_none() && budget.try_take(2 * UNIT).is_some());
        drop(giant);
        assert_eq!(budget.used(), 0);
        let all = budget.take(4 * UNIT).await;
        assert!(part.try_take(1).is_none(), "nothing is left of the whole");
        assert_eq!(*budget.waiting().borrow(), 0);
        drop(all);
        assert!(part.try_take(1).is_some());
    }
}
