//! Turns rows of `COPY ... TO STDOUT` into the shared row layout.
//!
//! In: the payloads of CopyData in text form, each of which is one row (PostgreSQL 18 documentation, 54.7, CopyData,
//! and COPY, "Text Format"). Out: [`Row`]s that are slices of one buffer. Always: every byte of a value comes out as
//! the server has it, and nothing is allocated per row. Not here: reading from the connection (`chunk_connection`).
//! Start at [`Rows::push`].

use bytes::Bytes;
use memchr::memchr2;

use crate::model::Row;

/// What a value takes besides its bytes: kind and length.
const VALUE_HEADER: usize = 5;

/// Words of eight bytes that are looked at before a longer search is worth its start.
const NEAR: usize = 4;

/// Why a payload is no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CopyError {
    /// It does not end as a row does.
    #[error("a copied row does not end with a line feed")]
    Unended,
    /// Another number of columns than asked for.
    #[error("a copied row has {found} columns and not {expected}")]
    Columns {
        /// Columns asked for.
        expected: usize,
        /// Columns found.
        found: usize,
    },
    /// A backslash before something that the server never writes after one.
    #[error("a copied row has an unknown escape")]
    Escape,
}

/// Rows one behind the other.
#[derive(Debug)]
pub(super) struct Rows {
    columns: u16,
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl Rows {
    /// Room for about that many bytes, for rows of so many columns.
    pub(super) fn new(columns: u16, capacity: usize) -> Rows {
        Rows { columns, bytes: Vec::with_capacity(capacity), ends: Vec::new() }
    }

    /// Whether there is no row yet.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The memory that the rows will hold.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<Row>()
    }

    /// Bytes that the row of such a payload takes at most.
    pub(super) fn bound(&self, payload: &[u8]) -> usize {
        payload.len() + 2 + usize::from(self.columns) * VALUE_HEADER + size_of::<Row>()
    }

    /// Adds one row.
    ///
    /// # Errors
    /// [`CopyError`]; nothing is added then.
    #[inline]
    pub(super) fn push(&mut self, payload: &[u8]) -> Result<(), CopyError> {
        let line = payload.strip_suffix(b"\n").ok_or(CopyError::Unended)?;
        let start = self.bytes.len();
        self.bytes.reserve(self.bound(line));
        self.bytes.extend_from_slice(&self.columns.to_be_bytes());
        let written = write_values(line, usize::from(self.columns), &mut self.bytes);
        match written {
            Ok(()) => self.ends.push(self.bytes.len()),
            Err(_) => self.bytes.truncate(start),
        }
        written
    }

    /// The rows, and the memory they hold.
    pub(super) fn finish(mut self) -> (Vec<Row>, usize) {
        if self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to_fit();
        }
        let size = self.bytes.capacity() + self.ends.len() * size_of::<Row>();
        let bytes = Bytes::from(self.bytes);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let row = |(start, end): (usize, &usize)| Row::from_walked(bytes.slice(start..*end), false);
        (starts.zip(&self.ends).map(row).collect(), size)
    }
}

fn write_values(line: &[u8], expected: usize, into: &mut Vec<u8>) -> Result<(), CopyError> {
    let mut rest = line;
    let mut found = 0;
    loop {
        found += 1;
        let (tab, after) = match special(rest) {
            None => (false, plain(rest, rest.len(), into)),
            Some(at) if rest[at] == b'\t' => (true, &plain(rest, at, into)[1..]),
            Some(at) => escaped(rest, at, into)?,
        };
        rest = after;
        if !tab {
            break;
        }
        if found == expected {
            // The rest is not looked at: it would only be written in vain.
            return Err(CopyError::Columns { expected, found: found + 1 });
        }
    }
    if found == expected { Ok(()) } else { Err(CopyError::Columns { expected, found }) }
}

/// Where the first tab or backslash is.
#[inline]
fn special(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const TAB: u64 = u64::from_ne_bytes([b'\t'; 8]);
    const BACKSLASH: u64 = u64::from_ne_bytes([b'\\'; 8]);
    // The high bit of each byte that is zero; above the lowest of them others may be set in vain.
    let zero = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let (words, tail) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        if number == NEAR {
            let from = NEAR * 8;
            return memchr2(b'\t', b'\\', &bytes[from..]).map(|at| from + at);
        }
        let word = u64::from_le_bytes(*word);
        let hit = zero(word ^ TAB) | zero(word ^ BACKSLASH);
        if hit != 0 {
            return Some(number * 8 + (hit.trailing_zeros() / 8) as usize);
        }
    }
    let tail_at = bytes.len() - tail.len();
    tail.iter().position(|byte| matches!(byte, b'\t' | b'\\')).map(|at| tail_at + at)
}

/// Writes a value of that length that needs no change; what comes after it.
#[inline]
fn plain<'a>(rest: &'a [u8], length: usize, into: &mut Vec<u8>) -> &'a [u8] {
    let (value, after) = rest.split_at(length);
    // A value is at most 1 GiB in PostgreSQL.
    let [a, b, c, d] = (length as u32).to_be_bytes();
    into.extend_from_slice(&[b't', a, b, c, d]);
    into.extend_from_slice(value);
    after
}

/// Writes a value whose first backslash is at `at`; whether another follows, and what comes after it.
fn escaped<'a>(rest: &'a [u8], at: usize, into: &mut Vec<u8>) -> Result<(bool, &'a [u8]), CopyError> {
    // NULL stands alone; in a value the N would be no escape.
    match rest {
        [b'\\', b'N'] if at == 0 => {
            into.push(b'n');
            return Ok((false, &[]));
        }
        [b'\\', b'N', b'\t', after @ ..] if at == 0 => {
            into.push(b'n');
            return Ok((true, after));
        }
        _ => {}
    }
    into.push(b't');
    let length_at = into.len();
    into.extend_from_slice(&[0; 4]);
    let (mut rest, mut next) = (rest, Some(at));
    let ended = loop {
        let Some(at) = next else {
            into.extend_from_slice(rest);
            break (false, &rest[rest.len()..]);
        };
        into.extend_from_slice(&rest[..at]);
        if rest[at] == b'\t' {
            break (true, &rest[at + 1..]);
        }
        into.push(rest.get(at + 1).copied().and_then(meant).ok_or(CopyError::Escape)?);
        rest = &rest[at + 2..];
        next = special(rest);
    };
    let length = into.len() - length_at - 4;
    into[length_at..length_at + 4].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(ended)
}

/// What a letter after a backslash means. The server writes these and no others.
fn meant(letter: u8) -> Option<u8> {
    Some(match letter {
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        b'\\' => b'\\',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{RowBuilder, Value};

    /// The plain twin: byte by byte, as the documentation says it.
    fn plainly(payload: &[u8], columns: u16) -> Result<Row, CopyError> {
        let line = payload.strip_suffix(b"\n").ok_or(CopyError::Unended)?;
        let (mut row, mut found) = (RowBuilder::with_capacity(0), 0);
        for field in line.split(|byte| *byte == b'\t') {
            found += 1;
            if found > usize::from(columns) {
                return Err(CopyError::Columns { expected: columns.into(), found });
            }
            if field == b"\\N" {
                row.push(Value::Null);
                continue;
            }
            let (mut value, mut bytes) = (Vec::new(), field.iter());
            while let Some(byte) = bytes.next() {
                value.push(match byte {
                    b'\\' => bytes.next().copied().and_then(meant).ok_or(CopyError::Escape)?,
                    other => *other,
                });
            }
            row.push(Value::Text(&value));
        }
        let expected = columns.into();
        if found == expected { Ok(row.finish()) } else { Err(CopyError::Columns { expected, found }) }
    }

    fn parsed(payload: &[u8], columns: u16) -> Result<Row, CopyError> {
        let mut rows = Rows::new(columns, 0);
        rows.push(payload)?;
        Ok(rows.finish().0.remove(0))
    }

    /// As the server writes a row (`CopyAttributeOutText` of PostgreSQL).
    fn written(values: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut line = Vec::new();
        for (at, value) in values.iter().enumerate() {
            line.extend((at > 0).then_some(b'\t'));
            let Some(value) = value else {
                line.extend(b"\\N");
                continue;
            };
            for byte in value {
                match (b'\x08'..=b'\r').contains(byte).then(|| b"btnvfr"[usize::from(byte - 8)]) {
                    Some(letter) => line.extend([b'\\', letter]),
                    None if *byte == b'\\' => line.extend(b"\\\\"),
                    None => line.push(*byte),
                }
            }
        }
        line.push(b'\n');
        line
    }

    #[test]
    fn lines_are_read_as_documented() {
        type Want = Result<&'static [Option<&'static str>], CopyError>;
        let cases: [(&str, u16, Want); 14] = [
            ("1\tab\n", 2, Ok(&[Some("1"), Some("ab")])),
            ("\t\n", 2, Ok(&[Some(""), Some("")])),
            ("\n", 1, Ok(&[Some("")])),
            ("\\N\t\\N\n", 2, Ok(&[None, None])),
            ("\\\\N\tx\\\\N\n", 2, Ok(&[Some("\\N"), Some("x\\N")])),
            ("\\b\\t\\n\\v\\f\\r\\\\\n", 1, Ok(&[Some("\x08\t\n\x0b\x0c\r\\")])),
            ("\\.\n", 1, Err(CopyError::Escape)),
            ("x\\N\n", 1, Err(CopyError::Escape)),
            ("\\Nx\n", 1, Err(CopyError::Escape)),
            ("x\\\n", 1, Err(CopyError::Escape)),
            ("x", 1, Err(CopyError::Unended)),
            ("", 1, Err(CopyError::Unended)),
            ("1\t2\n", 1, Err(CopyError::Columns { expected: 1, found: 2 })),
            ("1\t2\n", 3, Err(CopyError::Columns { expected: 3, found: 2 })),
        ];
        for (line, columns, want) in cases {
            let want = want.map(|values| {
                let mut row = RowBuilder::with_capacity(0);
                values.iter().for_each(|value| row.push(value.map_or(Value::Null, |v| Value::Text(v.as_bytes()))));
                row.finish()
            });
            assert!(parsed(line.as_bytes(), columns) == want, "{line:?}");
            assert!(plainly(line.as_bytes(), columns) == want, "{line:?} plainly");
        }
    }

    #[test]
    fn a_bad_row_leaves_those_before_it_whole() {
        let mut rows = Rows::new(2, 0);
        rows.push(b"1\ta\n").unwrap();
        assert_eq!(rows.push(b"22222\tx\\y\n"), Err(CopyError::Escape));
        rows.push(b"3\tc\n").unwrap();
        let (rows, size) = rows.finish();
        assert_eq!(rows.iter().map(|row| row.column(1)).collect::<Vec<_>>(), [Value::Text(b"a"), Value::Text(b"c")]);
        assert!(size >= rows.iter().map(Row::size).sum());
    }

    fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
        let telling = prop_oneof![Just(b'\\'), Just(b'N'), Just(b'\t'), Just(b'\n'), Just(b'\r'), any::<u8>()];
        prop_oneof![
            Just(None),
            vec(telling, 0..12).prop_map(Some),
            vec(any::<u8>(), 0..200).prop_map(Some),
            vec(b'a'..=b'z', 0..100).prop_map(Some),
        ]
    }

    proptest! {
        #[test]
        fn what_the_server_writes_is_read_exactly(values in vec(vec(value(), 3), 1..5)) {
            let mut rows = Rows::new(3, 0);
            let mut want = Vec::new();
            for values in &values {
                let line = written(values);
                prop_assert!(rows.bound(&line) >= parsed(&line, 3).unwrap().size());
                rows.push(&line).unwrap();
                let mut row = RowBuilder::with_capacity(0);
                values.iter().for_each(|value| row.push(value.as_deref().map_or(Value::Null, Value::Text)));
                want.push(row.finish());
            }
            prop_assert!(rows.finish().0 == want);
        }

        #[test]
        fn whatever_comes_both_ways_say_the_same(
            line in vec(prop_oneof![Just(b'\\'), Just(b'\t'), Just(b'N'), any::<u8>()], 0..80),
            columns in 1_u16..5,
        ) {
            let mut line = line;
            line.push(b'\n');
            prop_assert!(parsed(&line, columns).is_ok() == plainly(&line, columns).is_ok());
            if let (Ok(fast), Ok(plain)) = (parsed(&line, columns), plainly(&line, columns)) {
                prop_assert!(fast == plain);
            }
        }
    }
}
