//! Hashes of rows' keys.
//!
//! Always: rows with the same key have the same hash; the opposite need not be. A hash is made as a row is taken in,
//! while its bytes are still in the processor's cache; when its batch is collapsed they no longer are.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::model::{Row, TableSchema, Value};

/// The hash of a row's key under its table's schema. Made in one process, of meaning in that one alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyHash(u32);

impl KeyHash {
    /// The hash of this row's key.
    #[inline]
    pub(super) fn of(schema: &TableSchema, row: &Row) -> KeyHash {
        let mut hasher = FixedState::default().build_hasher();
        for column in &schema.key {
            if let Value::Text(text) = row.column(*column) {
                hasher.write_usize(text.len());
                hasher.write(text);
            }
        }
        let hash = hasher.finish();
        KeyHash((hash ^ hash >> 32) as u32)
    }

    /// For a hash table that looks at the highest and at the lowest bits.
    #[inline]
    pub(super) fn spread(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}
