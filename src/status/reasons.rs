//! What is wrong now.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::model::Reason;

/// A reason that has not been cleared.
#[derive(Clone, Debug)]
pub struct ActiveReason {
    /// What and why.
    pub reason: Reason,
    /// When it was first raised.
    pub first_seen: SystemTime,
    /// When it was last raised.
    pub last_seen: SystemTime,
    /// How often it was raised since `first_seen`.
    pub count: u64,
}

/// The reasons by code and object. Written seldom, so a lock will do.
#[derive(Debug, Default)]
pub(super) struct Reasons(Mutex<BTreeMap<(&'static str, String), ActiveReason>>);

impl Reasons {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), ActiveReason>> {
        // A panic elsewhere cannot leave the map half-written: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds or repeats a reason; true if it is new.
    pub(super) fn raise(&self, reason: Reason) -> bool {
        let now = SystemTime::now();
        let mut reasons = self.lock();
        match reasons.get_mut(&(reason.code, reason.object.clone())) {
            Some(active) => {
                active.reason = reason;
                active.last_seen = now;
                active.count += 1;
                false
            }
            None => {
                let key = (reason.code, reason.object.clone());
                reasons.insert(key, ActiveReason { reason, first_seen: now, last_seen: now, count: 1 });
                true
            }
        }
    }

    /// Removes the reasons that `cured` accepts; how many there were.
    pub(super) fn clear(&self, cured: impl Fn(&Reason) -> bool) -> usize {
        let mut reasons = self.lock();
        let before = reasons.len();
        reasons.retain(|_, active| !cured(&active.reason));
        before - reasons.len()
    }

    pub(super) fn all(&self) -> Vec<ActiveReason> {
        self.lock().values().cloned().collect()
    }
}
