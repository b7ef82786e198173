//! Faults to order: what shall go wrong, on which call, how often.
//!
//! In: `Fault`s, from a test or the control port. Out: the action a face has to take now.
//! Always: a fault counts only calls that match it, from the moment it is set; two faults that fire on one call at one
//! place: the older one wins, both have counted.
//! Not here: carrying an action out (`crate::http`).

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The kinds of calls that can go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `PUT /api/{db}/{table}/_stream_load`.
    #[default]
    StreamLoad,
    /// `/api/transaction/begin`.
    Begin,
    /// `/api/transaction/load`.
    Load,
    /// `/api/transaction/prepare`.
    Prepare,
    /// `/api/transaction/commit`.
    Commit,
    /// `/api/transaction/rollback`.
    Rollback,
    /// `/api/{db}/get_load_state`.
    LoadState,
}

/// Which face goes wrong, for actions that both can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The frontend.
    Fe,
    /// The backend.
    #[default]
    Be,
}

/// What goes wrong. The second half belongs to one place by nature and ignores `Fault::place`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Waits before answering (backend: before the commit), then goes on.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Takes the request (backend: with its body, without commit) and never answers.
    Hang,
    /// Resets the connection when the headers are in.
    Reset,
    /// Another HTTP status with a JSON body; 401 looks as StarRocks' own.
    HttpStatus {
        /// 401, 500, 503, ...
        status: u16,
    },
    /// A page of some proxy.
    Html {
        /// 200, 502, ...
        status: u16,
    },
    /// `Fail` (frontend: `FAILED`) with this text; nothing is committed.
    Fail {
        /// `Message`.
        message: String,
    },
    /// FE: `Location` names this host.
    WrongHost {
        /// With or without a port; without one the backend's.
        host: String,
    },
    /// FE: `Location` is the request itself.
    RedirectLoop,
    /// FE: 307 without `Location`.
    NoLocation,
    /// FE: `Location` names a port nobody listens on.
    ClosedPort,
    /// BE: resets the connection after this many body bytes; nothing is committed.
    ResetDuringBody {
        /// Body bytes read first.
        bytes: u64,
    },
    /// BE: reads all, resets, commits nothing.
    ResetBeforeCommit,
    /// BE: commits, then resets without an answer.
    ResetAfterCommit,
    /// BE: commits, then never answers.
    HangAfterCommit,
    /// BE: commits and answers `Publish Timeout`.
    PublishTimeout,
    /// BE: `Fail` as if memory were short; nothing is committed.
    MemoryLimit,
    /// BE: `Fail` with an unknown outcome.
    CommitUnknown {
        /// The outcome.
        committed: bool,
    },
    /// BE: leaves the last rows out and answers `Success` with them as filtered, whatever the ratio.
    FilterRows {
        /// How many.
        rows: u64,
    },
    /// BE: writes everything and answers `Success` with fewer loaded rows, none of them filtered.
    MiscountRows {
        /// How many fewer.
        rows: u64,
    },
    /// BE: commits and forgets the label at once.
    ForgetLabel,
}

impl Action {
    /// The place it belongs to by nature, if it does.
    fn own_place(&self) -> Option<Place> {
        match self {
            Action::Delay { .. }
            | Action::Hang
            | Action::Reset
            | Action::HttpStatus { .. }
            | Action::Html { .. }
            | Action::Fail { .. } => None,
            Action::WrongHost { .. } | Action::RedirectLoop | Action::NoLocation | Action::ClosedPort => {
                Some(Place::Fe)
            }
            Action::ResetDuringBody { .. }
            | Action::ResetBeforeCommit
            | Action::ResetAfterCommit
            | Action::HangAfterCommit
            | Action::PublishTimeout
            | Action::MemoryLimit
            | Action::CommitUnknown { .. }
            | Action::FilterRows { .. }
            | Action::MiscountRows { .. }
            | Action::ForgetLabel => Some(Place::Be),
        }
    }
}

/// One order: on the `nth` matching call from now, and the `count - 1` after it, `action` happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The table; `None` = any.
    #[serde(default)]
    pub table: Option<String>,
    /// The first call it happens on, from 1.
    #[serde(default = "one")]
    pub nth: u64,
    /// On how many calls; `u64::MAX` = for ever.
    #[serde(default = "one")]
    pub count: u64,
    /// The kind of call.
    #[serde(default)]
    pub call: Call,
    /// Where.
    #[serde(default, rename = "where")]
    pub place: Place,
    /// What.
    pub action: Action,
}

fn one() -> u64 {
    1
}

impl Fault {
    /// On the next Stream Load of any table.
    pub fn next(action: Action) -> Fault {
        Fault { table: None, nth: 1, count: 1, call: Call::StreamLoad, place: Place::Be, action }
    }

    /// The same for one table.
    pub fn on(mut self, table: &str) -> Fault {
        self.table = Some(table.to_string());
        self
    }

    /// The same on the nth call and `count - 1` after it.
    pub fn nth(mut self, nth: u64, count: u64) -> Fault {
        self.nth = nth;
        self.count = count;
        self
    }

    /// The same at the frontend.
    pub fn at_frontend(mut self) -> Fault {
        self.place = Place::Fe;
        self
    }

    /// The same for another kind of call.
    pub fn of(mut self, call: Call) -> Fault {
        self.call = call;
        self
    }

    fn matches(&self, call: Call, place: Place, table: Option<&str>) -> bool {
        let here = self.action.own_place().unwrap_or(self.place) == place;
        here && self.call == call && (self.table.is_none() || self.table.as_deref() == table)
    }
}

/// The orders of one server.
#[derive(Debug, Default)]
pub struct Faults {
    orders: Mutex<Vec<(Fault, u64)>>,
}

impl Faults {
    /// Adds an order.
    pub fn add(&self, fault: Fault) {
        self.lock().push((fault, 0));
    }

    /// Takes all orders back.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Orders that can still fire, with how many calls each has seen.
    pub fn pending(&self) -> Vec<(Fault, u64)> {
        self.lock().clone()
    }

    /// Counts a call, and says what shall go wrong with it.
    pub fn take(&self, call: Call, place: Place, table: Option<&str>) -> Option<Action> {
        let mut orders = self.lock();
        let mut action = None;
        for (fault, seen) in orders.iter_mut().filter(|(fault, _)| fault.matches(call, place, table)) {
            *seen += 1;
            let fires = *seen >= fault.nth && *seen - fault.nth < fault.count;
            if fires && action.is_none() {
                action = Some(fault.action.clone());
            }
        }
        orders.retain(|(fault, seen)| *seen < fault.nth.saturating_add(fault.count - 1).max(1));
        action
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Fault, u64)>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_fire_on_the_calls_they_name() {
        let rows = [
            (Fault::next(Action::Hang), vec!["t", "t"], vec![true, false], "the next call only"),
            (Fault::next(Action::Hang).nth(2, 2), vec!["t"; 4], vec![false, true, true, false], "second and third"),
            (Fault::next(Action::Hang).on("u"), vec!["t", "u", "u"], vec![false, true, false], "one table"),
        ];
        for (fault, tables, fires, why) in rows {
            let faults = Faults::default();
            faults.add(fault);
            let got: Vec<_> =
                tables.iter().map(|t| faults.take(Call::StreamLoad, Place::Be, Some(t)).is_some()).collect();
            assert_eq!(got, fires, "{why}");
            assert!(faults.pending().is_empty(), "{why}: nothing is left");
        }
    }
}
