//! One row in the layout every part of Sluicegate shares: pgoutput's TupleData.
//!
//! A row is a slice of the message it came in. Layout (PostgreSQL 18 documentation, 54.9 "Logical Replication
//! Message Formats", TupleData): an int16 number of columns, then per column one kind byte: `n` for NULL, `u` for
//! an unchanged TOASTed value that was not sent, `t` for a value in text form, which is an int32 length and that
//! many bytes. Numbers are big-endian.

use bytes::{BufMut, Bytes, BytesMut};

/// One column's value as the source sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// A large value that the change left alone, so that the source did not send it again.
    Unchanged,
    /// The value in PostgreSQL's text form, UTF-8 unless the source database is SQL_ASCII.
    Text(&'a [u8]),
}

/// Takes rows one by one while a table is read: a value for each column asked for, in that order, as the server wrote
/// it; `None` is NULL.
pub type EachRow<'a> = &'a mut (dyn FnMut(&[Option<&[u8]>]) + Send);

/// A whole tuple, in TupleData layout. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Row {
    bytes: Bytes,
    /// Whether any column is [`Value::Unchanged`]. Kept, because to find out means to walk the row.
    unchanged: bool,
}

impl Row {
    /// Takes bytes whose layout has been checked (`pgoutput` does, and so does [`RowBuilder`]).
    /// Bytes that break the layout are not unsafe: the iterator ends at the break.
    pub fn from_checked(bytes: Bytes) -> Self {
        let unchanged = Columns::of(&bytes).any(|value| value == Value::Unchanged);
        Row { bytes, unchanged }
    }

    /// The same by somebody who walked the layout and knows whether any column is unchanged.
    #[inline]
    pub fn from_walked(bytes: Bytes, unchanged: bool) -> Self {
        debug_assert_eq!(Row::from_checked(bytes.clone()).unchanged, unchanged);
        Row { bytes, unchanged }
    }

    /// A copy that does not keep the message it came in alive.
    pub fn detached(&self) -> Row {
        Row { bytes: Bytes::copy_from_slice(&self.bytes), unchanged: self.unchanged }
    }

    /// How many columns the row says it has.
    pub fn len(&self) -> usize {
        self.bytes.first_chunk::<2>().map_or(0, |count| u16::from_be_bytes(*count).into())
    }

    /// Whether the row has no column at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the layout, for keeping; [`Row::from_checked`] takes them back.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Size of the layout in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The columns in table order.
    pub fn columns(&self) -> Columns<'_> {
        Columns::of(&self.bytes)
    }

    /// The value of one column; `Null` beyond the end. Walks the row: for all columns use [`Row::columns`].
    pub fn column(&self, index: usize) -> Value<'_> {
        self.columns().nth(index).unwrap_or(Value::Null)
    }

    /// Whether any column is an unchanged value that was not sent.
    #[inline]
    pub fn has_unchanged(&self) -> bool {
        self.unchanged
    }

    /// A row of these columns alone, in this order: with the positions of a table's key, its key row, which says the
    /// same whatever becomes of the table's other columns.
    pub fn only(&self, columns: &[usize]) -> Row {
        let values: Vec<Value<'_>> = self.columns().collect();
        let mut built = RowBuilder::with_capacity(self.size());
        for column in columns {
            built.push(values.get(*column).copied().unwrap_or(Value::Null));
        }
        built.finish()
    }

    /// This row with its unchanged columns taken from `older`. A column that is unchanged in both stays so.
    pub fn filled_from(&self, older: &Row) -> Row {
        let mut built = RowBuilder::with_capacity(self.size() + older.size());
        let mut old_columns = older.columns();
        for value in self.columns() {
            let old = old_columns.next().unwrap_or(Value::Unchanged);
            built.push(if value == Value::Unchanged { old } else { value });
        }
        built.finish()
    }
}

impl std::fmt::Debug for Row {
    /// Shape only: values never reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Row({} columns, {} bytes)", self.len(), self.size())
    }
}

/// Walks a row's columns. See [`Row::columns`].
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    rest: &'a [u8],
}

impl<'a> Columns<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Columns { rest: bytes.get(2..).unwrap_or_default() }
    }
}

impl<'a> Iterator for Columns<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        let (kind, rest) = self.rest.split_first()?;
        match kind {
            b'n' => {
                self.rest = rest;
                Some(Value::Null)
            }
            b'u' => {
                self.rest = rest;
                Some(Value::Unchanged)
            }
            _ => {
                let (length, rest) = rest.split_first_chunk::<4>()?;
                let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                self.rest = rest;
                Some(Value::Text(text))
            }
        }
    }
}

/// Writes a row in the layout, for sources whose rows do not come in it.
#[derive(Debug)]
pub struct RowBuilder {
    bytes: BytesMut,
    columns: u16,
    unchanged: bool,
}

impl RowBuilder {
    /// An empty row; `capacity` is the expected size in bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(capacity.max(2));
        bytes.put_u16(0);
        RowBuilder { bytes, columns: 0, unchanged: false }
    }

    /// Adds the next column. A row holds at most 65,535 columns (PostgreSQL's own limit is 1,600) and a value at
    /// most 4 GiB (PostgreSQL's own limit is 1 GiB).
    pub fn push(&mut self, value: Value<'_>) {
        self.columns += 1;
        match value {
            Value::Null => self.bytes.put_u8(b'n'),
            Value::Unchanged => {
                self.unchanged = true;
                self.bytes.put_u8(b'u');
            }
            Value::Text(text) => {
                self.bytes.put_u8(b't');
                self.bytes.put_u32(text.len() as u32);
                self.bytes.put_slice(text);
            }
        }
    }

    /// The finished row.
    pub fn finish(mut self) -> Row {
        self.bytes[..2].copy_from_slice(&self.columns.to_be_bytes());
        Row { bytes: self.bytes.freeze(), unchanged: self.unchanged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Value<'_>]) -> Row {
        let mut built = RowBuilder::with_capacity(0);
        values.iter().for_each(|value| built.push(*value));
        built.finish()
    }

    #[test]
    fn what_is_built_is_read_back() {
        let values = [Value::Text(b"a"), Value::Null, Value::Unchanged, Value::Text(b"")];
        let row = row(&values);
        assert_eq!(row.len(), 4);
        assert_eq!(row.columns().collect::<Vec<_>>(), values);
        assert_eq!(row.column(3), Value::Text(b""));
        assert_eq!(row.column(4), Value::Null);
        assert!(row.has_unchanged());
    }

    #[test]
    fn unchanged_columns_are_filled_and_others_kept() {
        let newer = row(&[Value::Text(b"2"), Value::Unchanged, Value::Null, Value::Unchanged]);
        let older = row(&[Value::Text(b"1"), Value::Text(b"big"), Value::Text(b"x"), Value::Unchanged]);
        let want = row(&[Value::Text(b"2"), Value::Text(b"big"), Value::Null, Value::Unchanged]);
        assert_eq!(newer.filled_from(&older), want);
    }

    #[test]
    fn a_key_row_holds_the_key_in_key_order() {
        let whole = row(&[Value::Text(b"a"), Value::Null, Value::Text(b"c")]);
        assert_eq!(whole.only(&[2, 0]), row(&[Value::Text(b"c"), Value::Text(b"a")]));
        assert_eq!(whole.only(&[1, 9]), row(&[Value::Null, Value::Null]));
    }

    #[test]
    fn a_broken_layout_ends_the_walk() {
        let broken = Row::from_checked(Bytes::from_static(b"\x00\x02t\x00\x00\x00\x09short"));
        assert_eq!(broken.columns().count(), 0);
    }
}
