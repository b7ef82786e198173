//! The numbers and reasons everyone may read while the data path runs.
//!
//! In: each part writes its own numbers through its own meter. Out: [`Status::snapshot`], a plain copy. Always:
//! nothing on the data path waits for a reader; each number has one meter that writes it; counters only grow.
//! Not here: rates and their history (`grpc` derives them from two snapshots). Start at [`Status`].

mod copy;
mod meters;
mod reasons;
mod snapshot;

pub use copy::{CopyNumbers, CopyPhase};
pub use meters::{EngineMeter, Meters, PipelineMeter, SinkMeter, SourceMeter, Status, TableMeter};
pub use reasons::ActiveReason;
pub use snapshot::{SlotHealth, Snapshot, TableSnapshot, ValuesChanged};
