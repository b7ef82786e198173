//! For `benches/`: a batch of one table from changes to loads.

use std::sync::Arc;

use super::collapse::Collapsed;
use crate::model::{Change, Load, Lsn, TableSchema};
use crate::sink::Deletes;

/// Collapses the changes to one final state per key.
pub fn collapse(schema: Arc<TableSchema>, changes: Vec<(Lsn, Change)>) -> Vec<Load> {
    let mut collapsed = Collapsed::new(schema, changes.len());
    changes.into_iter().for_each(|(commit_lsn, change)| collapsed.apply(commit_lsn, change));
    collapsed.into_loads(Deletes::WithRows)
}
