//! For `benches/`: a batch of one table from changes to loads.

use std::sync::Arc;

use super::collapse::Collapsed;
use super::key_hash::KeyHash;
use crate::model::{Change, Load, Lsn, TableSchema};
use crate::sink::Deletes;

/// Collapses the changes to one final state per key.
pub fn collapse(schema: Arc<TableSchema>, changes: Vec<(Lsn, Change)>) -> Vec<Load> {
    let mut collapsed = Collapsed::new(schema.clone(), changes.len());
    for (commit_lsn, change) in changes {
        let hash = KeyHash::of(&schema, change.row());
        collapsed.apply(commit_lsn, hash, change);
    }
    collapsed.into_loads(Deletes::WithRows)
}
