//! Turns rows into fingerprints.
//!
//! In: a row's values as its server wrote them. Out: a [`Print`] that is the same for a row and its copy. Always:
//! values are spelled first, so that both sides agree; no two rows share a text, whatever their values hold.

use std::hash::BuildHasher;

use aws_lc_rs::digest::{SHA256, digest};
use foldhash::quality::FixedState;

use super::sketch::{Print, Side};
use crate::model::{ColumnType, TableSchema};
use crate::sink::Spelling;

/// Marks before a value.
const NULL: u8 = 0;
const VALUE: u8 = 1;

/// How a key is told by 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyCode {
    /// It is one whole number, and its bits are the number.
    Number,
    /// A hash of it.
    Hashed,
}

impl KeyCode {
    /// That of a table.
    pub(super) fn of(schema: &TableSchema) -> KeyCode {
        match schema.key[..] {
            [at] => match schema.columns[at].ty {
                ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => KeyCode::Number,
                _ => KeyCode::Hashed,
            },
            _ => KeyCode::Hashed,
        }
    }
}

/// Makes fingerprints of the rows of one side.
pub(super) struct Printer<'a, T> {
    table: &'a T,
    columns: &'a [usize],
    key_columns: usize,
    code: KeyCode,
    side: Side,
    /// The row at hand.
    text: Vec<u8>,
    key_end: usize,
    /// Rows whose key is no number although it should be one.
    pub(super) odd_keys: u64,
}

impl<'a, T: Spelling> Printer<'a, T> {
    /// For rows of these columns, which begin with the key.
    pub(super) fn new(table: &'a T, schema: &TableSchema, columns: &'a [usize], side: Side) -> Self {
        let (key_columns, code) = (schema.key.len(), KeyCode::of(schema));
        Printer { table, columns, key_columns, code, side, text: Vec::new(), key_end: 0, odd_keys: 0 }
    }

    /// The fingerprint of a row.
    pub(super) fn print(&mut self, values: &[Option<&[u8]>]) -> Print {
        self.spell(values);
        let key = self.key();
        let hash = digest(&SHA256, &self.text);
        let half = |at: usize| hash.as_ref()[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Print { key, row: [half(0), half(8)] }
    }

    /// What stands for the key of a row, of which the key columns suffice, and the key's spelling.
    pub(super) fn key_of(&mut self, values: &[Option<&[u8]>]) -> (u64, Vec<String>) {
        self.spell(&values[..self.key_columns]);
        let code = self.key();
        let mut key = Vec::with_capacity(self.key_columns);
        for (at, value) in values.iter().take(self.key_columns).enumerate() {
            self.text.clear();
            value.map(|text| self.value(self.columns[at], text));
            key.push(String::from_utf8_lossy(&self.text).into_owned());
        }
        (code, key)
    }

    fn value(&mut self, column: usize, text: &[u8]) -> bool {
        match self.side {
            Side::Source => self.table.source(column, text, &mut self.text),
            Side::Target => self.table.target(column, text, &mut self.text),
        }
    }

    /// Writes the row's one text: for each value a mark, its length and itself.
    fn spell(&mut self, values: &[Option<&[u8]>]) {
        self.text.clear();
        for (at, value) in values.iter().enumerate() {
            let start = self.text.len();
            self.text.extend_from_slice(&[VALUE, 0, 0, 0, 0]);
            let there = value.is_some_and(|text| self.value(self.columns[at], text));
            if there {
                // No value is longer than a gigabyte.
                let length = (self.text.len() - start - 5) as u32;
                self.text[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
            } else {
                self.text.truncate(start);
                self.text.push(NULL);
            }
            if at + 1 == self.key_columns {
                self.key_end = self.text.len();
            }
        }
    }

    fn key(&mut self) -> u64 {
        let key = &self.text[..self.key_end];
        if self.code == KeyCode::Hashed {
            return FixedState::default().hash_one(key);
        }
        let number = key.get(5..).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<i64>().ok());
        self.odd_keys += u64::from(number.is_none());
        number.unwrap_or_default().cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, TableId, TableName};
    use crate::sink::LeftOut;

    /// Spells values as they are.
    struct Plain;

    impl Spelling for Plain {
        fn columns(&self) -> &[usize] {
            &[0, 1]
        }
        fn left_out(&self) -> &[LeftOut] {
            &[]
        }
        fn source(&self, _: usize, text: &[u8], out: &mut Vec<u8>) -> bool {
            out.extend_from_slice(text);
            text != b"replaced"
        }
        fn target(&self, _: usize, text: &[u8], out: &mut Vec<u8>) -> bool {
            out.extend_from_slice(text);
            true
        }
    }

    fn schema(key: ColumnType) -> TableSchema {
        let name = TableName { schema: "s".into(), name: "t".into() };
        let columns = [("id", key), ("note", ColumnType::Text)];
        let columns = columns.map(|(name, ty)| Column { name: name.into(), ty, nullable: true }).into();
        TableSchema { id: TableId(1), name, target: "t".into(), columns, key: vec![0], complete: true }
    }

    fn print(key: ColumnType, side: Side, values: [Option<&str>; 2]) -> Print {
        let schema = schema(key);
        let mut printer = Printer::new(&Plain, &schema, &[0, 1], side);
        printer.print(&values.map(|value| value.map(str::as_bytes)))
    }

    #[test]
    fn both_sides_agree_and_other_rows_differ() {
        let of = |side, values| print(ColumnType::Text, side, values);
        let (source, target) = (Side::Source, Side::Target);
        assert_eq!(of(source, [Some("a"), Some("b")]), of(target, [Some("a"), Some("b")]));
        assert_eq!(of(source, [Some("a"), Some("replaced")]), of(target, [Some("a"), None]));
        let all = [[Some("a"), Some("b")], [Some("ab"), Some("")], [Some("a"), None], [Some("b"), Some("a")]];
        let prints: Vec<Print> = all.into_iter().map(|values| of(source, values)).collect();
        for (at, one) in prints.iter().enumerate() {
            for other in &prints[at + 1..] {
                assert_ne!(one.row, other.row);
            }
        }
        assert_eq!(prints[0].key, prints[2].key, "the key does not depend on the rest");
    }

    #[test]
    fn a_number_is_its_own_code() {
        assert_eq!(print(ColumnType::Int64, Side::Source, [Some("-7"), None]).key.cast_signed(), -7);
        let schema = schema(ColumnType::Int64);
        let mut printer = Printer::new(&Plain, &schema, &[0, 1], Side::Target);
        assert_eq!(printer.key_of(&[Some(b"12"), None]), (12, vec!["12".to_owned()]));
        printer.print(&[Some(b"x"), None]);
        assert_eq!(printer.odd_keys, 1);
    }
}
