//! A map by the key of a row.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::model::{Row, TableSchema, Value};

/// Values by key. A key is looked up in a whole row without being copied out of it first. Keys are kept as
/// [`TableSchema::key_of`] makes them.
#[derive(Debug)]
pub(super) struct Keyed<V> {
    entries: HashTable<(Row, V)>,
    hasher: FixedState,
    bytes: usize,
}

/// About what an entry costs beside the bytes of its key.
const ENTRY: usize = 96;

impl<V> Default for Keyed<V> {
    fn default() -> Self {
        Keyed { entries: HashTable::new(), hasher: FixedState::default(), bytes: 0 }
    }
}

impl<V> Keyed<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// About the memory that the keys hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value of the key that a row of the table has.
    pub(super) fn get(&self, schema: &TableSchema, row: &Row) -> Option<&V> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.find(self.hash(key_values(schema, row)), |(key, _)| same(schema, key, row)).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, schema: &TableSchema, row: &Row) -> Option<&mut V> {
        let hash = self.hash(key_values(schema, row));
        self.entries.find_mut(hash, |(key, _)| same(schema, key, row)).map(|(_, value)| value)
    }

    /// Sets the value of a row's key.
    pub(super) fn set(&mut self, schema: &TableSchema, row: &Row, value: V) {
        if let Some(before) = self.get_mut(schema, row) {
            *before = value;
            return;
        }
        self.set_key(schema.key_of(row), value);
    }

    /// Sets the value of a key.
    pub(super) fn set_key(&mut self, key: Row, value: V) {
        let hash = self.hash(key.columns());
        match self.entries.find_mut(hash, |(have, _)| *have == key) {
            Some((_, before)) => *before = value,
            None => {
                self.bytes += key.size() + ENTRY;
                let hasher = &self.hasher;
                self.entries.insert_unique(hash, (key, value), |(key, _)| hash_of(hasher, key.columns()));
            }
        }
    }

    pub(super) fn remove(&mut self, schema: &TableSchema, row: &Row) -> Option<V> {
        if self.entries.is_empty() {
            return None;
        }
        let hash = self.hash(key_values(schema, row));
        let entry = self.entries.find_entry(hash, |(key, _)| same(schema, key, row)).ok()?;
        let ((key, value), _) = entry.remove();
        self.bytes -= key.size() + ENTRY;
        Some(value)
    }

    pub(super) fn get_key_mut(&mut self, key: &Row) -> Option<&mut V> {
        let hash = self.hash(key.columns());
        self.entries.find_mut(hash, |(have, _)| have == key).map(|(_, value)| value)
    }

    pub(super) fn contains_key(&self, key: &Row) -> bool {
        self.entries.find(self.hash(key.columns()), |(have, _)| have == key).is_some()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Row, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Row, &mut V) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(|(key, value)| {
            let keep = keep(key, value);
            if !keep {
                *bytes -= key.size() + ENTRY;
            }
            keep
        });
    }

    pub(super) fn clear(&mut self) {
        *self = Keyed::default();
    }

    fn hash<'a>(&self, values: impl Iterator<Item = Value<'a>>) -> u64 {
        hash_of(&self.hasher, values)
    }
}

fn key_values<'a>(schema: &'a TableSchema, row: &'a Row) -> impl Iterator<Item = Value<'a>> {
    schema.key.iter().map(|column| row.column(*column))
}

fn same(schema: &TableSchema, key: &Row, row: &Row) -> bool {
    key.columns().eq(key_values(schema, row))
}

fn hash_of<'a>(hasher: &FixedState, values: impl Iterator<Item = Value<'a>>) -> u64 {
    let mut hasher = hasher.build_hasher();
    for value in values {
        if let Value::Text(text) = value {
            hasher.write_usize(text.len());
            hasher.write(text);
        }
    }
    hasher.finish()
}
