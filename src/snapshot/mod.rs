//! Copies the rows that are there while changes flow: the decisions, without I/O.
//!
//! In: the changes of a table in the order the stream tells them, and parts of the table that were read meanwhile.
//! Out: which changes flow on, which rows of a part are true at this place in the stream, and the keys that must be
//! read again. Always: a row goes in only where it is exactly what its key holds at that place in the stream. Not
//! here: reading (`source`), units and lanes (`pipeline`), who drives it and stores its progress (`engine`). Start at
//! [`TableCopy`]; [`TablePlan`] is what is read next.
//!
//! # Why it is exact
//!
//! A part is read through a *window*, in four steps.
//!
//! 1. *Open*. From here on every key that a change states is noted. `U` is taken: the transactions processed so far
//!    (one that is being processed with them) that are not yet known to be visible to readers.
//! 2. *Read*. A reader takes a snapshot `S`, then the position `L` at which the log ends, then the rows as of `S`.
//! 3. *Check*. If `S` does not see all of `U`, the reader takes another snapshot.
//! 4. *Inject*. Once the stream has passed `L`, at the end of a transaction, the rows go in; but not those whose key
//!    was noted.
//!
//! Take a row whose key was not noted. No transaction that was processed since *open* changed it. Those processed
//! before are all seen by `S` (*check*; what is not in `U` was visible even before). And `S` sees no transaction that
//! is not yet processed: its commit record lies before `L`, for `L` was taken after `S`, and the stream tells
//! transactions in the order of these records. So what `S` sees of this key is what the stream has told of it: the row
//! is exact at this place. A row whose key was noted is exact already, because the noted change flowed on and stated
//! all of it, and so did every change since.
//!
//! Positions alone cannot decide this. A commit is in the log, and told by the stream, before readers see it: under
//! synchronous replication for as long as the standby takes to answer. Only the transaction's id against the snapshot
//! tells ([`Visibility`](crate::model::Visibility)).
//!
//! Deciding by key has a second advantage over telling recorded changes once more behind the rows: nothing that is in
//! the target is ever set back, not even for a moment, so that a crash at that moment loses nothing, although no
//! position waits for the rows of a copy.
//!
//! # Changes that leave values out
//!
//! A change that leaves out a large value (PostgreSQL: an unchanged TOASTed one) states its key only in part. Where the
//! target may not have the row it must not be sent, and it is not noted either: the key is *wanted* and read again,
//! by the same four steps, whatever block the row lies in. No position may pass such a change before its key is stored.
//! While a window reads a key, such changes of it are kept and laid over the row that was read. They are complete and
//! in order since *open*, so each column ends at its newest value; a column that none of them brings was not changed
//! since *open*, so it is as it was read. A change that states the whole row, or removes it, settles the key: it is
//! wanted no more.
//!
//! A row that was read by its key counts as noted when it goes in, so that a part of blocks that was read before does
//! not set it back. Windows of blocks and of keys may be open side by side.
//!
//! A truncation that `S` does not see makes the read void. A window that is dropped, at any time, leaves only true rows
//! behind.

mod keys;
mod plan;
mod repairs;
mod unseen;
mod windows;

pub use plan::{Aim, Claim, Extent, Found, Pace, Span, TablePlan, repairs_due, time_left, turn};
pub use unseen::Unseen;
pub use windows::{Ended, Injection, Phase, Route, TableCopy, Verdict, Wanted, Why, WindowId};
#[cfg(test)]
pub(crate) use windows::{OFF, Step};
