//! A target that behaves as StarRocks does: whole rows replace, partial ones keep the rest, or make it NULL where there
//! is no row.

use std::collections::BTreeMap;

use super::source::number;
use crate::model::{Load, LoadRow, Op, Value};

/// `small` and `big`; NULL where a partial row had nothing to keep.
pub(super) type Stored = BTreeMap<u8, (Option<u32>, Option<u32>)>;

/// Carries out a load.
pub(super) fn load(target: &mut Stored, load: &Load) {
    for LoadRow { op, row, .. } in load.rows.iter() {
        let key = number(row.column(1)).expect("a key") as u8;
        if *op == Op::Delete {
            target.remove(&key);
            continue;
        }
        let kept = target.get(&key).copied().unwrap_or((None, None));
        let or = |value: Value<'_>, kept| if value == Value::Unchanged { kept } else { number(value) };
        target.insert(key, (or(row.column(2), kept.0), or(row.column(0), kept.1)));
    }
}
