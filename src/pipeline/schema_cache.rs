//! The schemas that the changes now coming in were written under.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::model::{TableId, TableSchema};

/// Schemas by relation id. Each version of each table gets a slot, a small number that stands for it in the open unit,
/// so that a row costs one lookup, and none while rows of one table follow each other. A newer version of a table has
/// a higher slot.
#[derive(Debug, Default)]
pub(super) struct SchemaCache {
    current: HashMap<TableId, u32, FixedState>,
    last: Option<(TableId, u32)>,
    slots: Vec<Arc<TableSchema>>,
}

impl SchemaCache {
    /// Takes in a schema for the changes that follow. Returns the one it replaces, if it is another.
    pub(super) fn learn(&mut self, schema: Arc<TableSchema>) -> Option<Arc<TableSchema>> {
        let before = self.current(schema.id).cloned();
        if before.as_ref().is_some_and(|before| *before == schema) {
            return None;
        }
        self.last = None;
        self.current.insert(schema.id, self.slots.len() as u32);
        self.slots.push(schema);
        before
    }

    /// A table's current schema; `None` if it was never told.
    pub(super) fn current(&self, table: TableId) -> Option<&Arc<TableSchema>> {
        self.current.get(&table).map(|slot| &self.slots[*slot as usize])
    }

    /// The slot of a table's current schema; `None` if it was never told.
    #[inline]
    pub(super) fn slot(&mut self, table: TableId) -> Option<u32> {
        if let Some((last, slot)) = self.last
            && last == table
        {
            return Some(slot);
        }
        let slot = *self.current.get(&table)?;
        self.last = Some((table, slot));
        Some(slot)
    }

    /// The schema in a slot.
    pub(super) fn schema(&self, slot: u32) -> &Arc<TableSchema> {
        &self.slots[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TableName;

    #[test]
    fn a_changed_table_gets_a_higher_slot_and_old_rows_keep_theirs() {
        let table = |name: &str| {
            let name = TableName { schema: "s".into(), name: name.into() };
            Arc::new(TableSchema {
                id: TableId(7),
                target: name.name.clone(),
                name,
                columns: vec![],
                key: vec![],
                complete: true,
            })
        };
        let mut cache = SchemaCache::default();
        assert_eq!(cache.slot(TableId(7)), None);
        cache.learn(table("a"));
        cache.learn(table("a"));
        assert_eq!(cache.slot(TableId(7)), Some(0), "the same again is nothing new");
        cache.learn(table("b"));
        assert_eq!(cache.slot(TableId(7)), Some(1));
        assert_eq!((cache.schema(0).name.name.as_str(), cache.schema(1).name.name.as_str()), ("a", "b"));
    }
}
