//! Notices when much has flowed and nothing flows any more, and when the start is over: then the allocator is told to give
//! memory back.

use crate::model::Budget;

/// Looks in a row that find nothing moving.
const LOOKS: u32 = 5;

/// What less was lent is not worth the trouble.
const WORTH: u64 = 1 << 20;

/// Remembers what was seen before.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    lent: u64,
    /// What had been lent when memory was last given back. At the start more is taken than is needed later.
    given_back: Option<u64>,
    looks: u32,
}

impl Quiet {
    /// Looks at the budget, once a second or so; whether memory is to be given back now.
    pub(super) fn look(&mut self, budget: &Budget) -> bool {
        let lent = budget.lent();
        let still = budget.used() == 0 && lent == self.lent;
        (self.lent, self.looks) = (lent, if still { self.looks.saturating_add(1) } else { 0 });
        let worth = self.given_back.is_none_or(|before| lent - before >= WORTH);
        let due = self.looks >= LOOKS && worth;
        if due {
            self.given_back = Some(lent);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_goes_back_once_after_much_has_flowed() {
        let budget = Budget::new(64 << 20);
        let mut quiet = Quiet::default();
        let mut due = |times: u32| (0..times).filter(|_| quiet.look(&budget)).count();
        assert_eq!(due(3 * LOOKS), 1, "the start is over");
        drop(budget.take(1000).await);
        assert_eq!(due(2 * LOOKS), 0, "little has flowed");
        let held = budget.take(20 << 20).await;
        assert_eq!(due(2 * LOOKS), 0, "it is in use");
        drop(held);
        assert_eq!(due(LOOKS - 1), 0, "it may go on");
        drop(budget.take(1).await);
        assert_eq!(due(LOOKS), 0, "it did");
        assert_eq!(due(3 * LOOKS), 1, "once is enough");
    }
}
