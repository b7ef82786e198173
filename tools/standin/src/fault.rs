//! Faults to order.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong with a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The FE answers this HTTP status with this body.
    Http(u16, String),
    /// The FE redirects there instead of to the BE: a whole `Location`; empty for none at all.
    Location(String),
    /// The BE waits so long before it answers; the load is done by then.
    Delay(Duration),
    /// The BE takes the load and never answers; nothing is committed.
    Hang,
    /// The BE cuts the connection before it commits.
    CutBeforeCommit,
    /// The BE commits and cuts the connection without an answer.
    CutAfterCommit,
    /// The BE commits and answers `Publish Timeout`.
    PublishTimeout,
    /// The BE answers `Fail` with this text; nothing is committed.
    Fail(String),
    /// The BE commits all rows but one, which it calls filtered, and answers `Success`.
    FilterOne,
}

impl Action {
    fn at_frontend(&self) -> bool {
        matches!(self, Action::Http(..) | Action::Location(_))
    }
}

/// An ordered fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Only loads of this table; of any if `None`.
    pub table: Option<String>,
    /// So many loads pass unharmed first.
    pub after: u64,
    /// How many loads it strikes.
    pub times: u64,
    /// What goes wrong.
    pub action: Action,
}

impl Fault {
    /// The next load of a table.
    pub fn next(table: &str, action: Action) -> Fault {
        Fault { table: Some(table.to_string()), after: 0, times: 1, action }
    }
}

/// The faults still to come.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        // Each change under the lock is one call, so a panic cannot leave it half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders one.
    pub fn order(&self, fault: Fault) {
        self.lock().push(fault);
    }

    /// Takes back what has not struck.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many strikes are still to come.
    pub fn left(&self) -> u64 {
        self.lock().iter().map(|fault| fault.times).sum()
    }

    /// What strikes this load at the frontend, or at the backend.
    pub(crate) fn strike(&self, table: &str, frontend: bool) -> Option<Action> {
        let mut faults = self.lock();
        let meant = |fault: &Fault| {
            fault.action.at_frontend() == frontend && fault.table.as_deref().is_none_or(|meant| meant == table)
        };
        let at = faults.iter().position(meant)?;
        let fault = &mut faults[at];
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times -= 1;
        let action = fault.action.clone();
        faults.retain(|fault| fault.times > 0);
        Some(action)
    }
}
