//! The first copy of a table's existing rows: what is read when, and how its progress is told.
//!
//! In: what a table's storages hold and what reading has shown. Out: what to read next. Always: pure, no clock and no
//! I/O. Not here: reading (`source`), injecting (`pipeline`), who drives it (`engine`). Start at [`TablePlan`].

mod plan;

pub use plan::{Aim, Claim, Extent, Found, Pace, Span, TablePlan, repairs_due, time_left, turn};
