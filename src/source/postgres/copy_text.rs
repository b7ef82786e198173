//! The text format of COPY (PostgreSQL 18 documentation, COPY, "Text Format").
//!
//! In: the bytes of `COPY … TO STDOUT` as they come, cut anywhere. Out: rows, value by value. Always: memory is one
//! row. Not here: what values mean. Start at [`CopyText::feed`].

use std::ops::Range;

use memchr::memchr;

use crate::model::EachRow;

/// What the bytes are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CopyError {
    /// A line has another number of values.
    #[error("a row of COPY has {found} values where {want} were asked for")]
    Columns { found: usize, want: usize },
    /// The data ends within a line.
    #[error("the rows of COPY end within a row")]
    Unfinished,
}

/// Takes COPY data apart.
#[derive(Debug)]
pub(super) struct CopyText {
    columns: usize,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// Values of the line at hand without their escapes, one behind the other.
    plain: Vec<u8>,
    /// Where in `plain` each value is.
    places: Vec<Option<Range<usize>>>,
}

impl CopyText {
    /// For rows of so many columns.
    pub(super) fn new(columns: usize) -> Self {
        CopyText { columns, rest: Vec::new(), plain: Vec::new(), places: Vec::with_capacity(columns) }
    }

    /// Takes the next bytes and hands on every row that is whole.
    ///
    /// # Errors
    /// See [`CopyError`].
    pub(super) fn feed(&mut self, mut bytes: &[u8], each: EachRow<'_>) -> Result<(), CopyError> {
        while let Some(end) = memchr(b'\n', bytes) {
            let line = &bytes[..end];
            if self.rest.is_empty() {
                self.line(line, each)?;
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(line);
                self.line(&whole, each)?;
            }
            bytes = &bytes[end + 1..];
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// To be called when no more bytes come.
    ///
    /// # Errors
    /// [`CopyError::Unfinished`].
    pub(super) fn finish(&self) -> Result<(), CopyError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CopyError::Unfinished) }
    }

    fn line(&mut self, line: &[u8], each: EachRow<'_>) -> Result<(), CopyError> {
        self.plain.clear();
        self.places.clear();
        // A tab within a value is escaped, so that every tab is a border.
        for field in line.split(|byte| *byte == b'\t') {
            let start = self.plain.len();
            let place = (field != b"\\N").then(|| {
                unescape(field, &mut self.plain);
                start..self.plain.len()
            });
            self.places.push(place);
        }
        // A row without columns is an empty line, which splits into one empty field.
        let found = if self.columns == 0 && line.is_empty() { 0 } else { self.places.len() };
        if found != self.columns {
            return Err(CopyError::Columns { found, want: self.columns });
        }
        let values: Vec<Option<&[u8]>> =
            self.places.iter().map(|place| place.as_ref().map(|place| &self.plain[place.clone()])).collect();
        each(&values);
        Ok(())
    }
}

fn unescape(mut field: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr(b'\\', field) {
        out.extend_from_slice(&field[..at]);
        let Some(escaped) = field.get(at + 1) else {
            // The server never writes a lone backslash at the end.
            out.push(b'\\');
            return;
        };
        out.push(match escaped {
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0B,
            other => *other,
        });
        field = &field[at + 2..];
    }
    out.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows = Vec<Vec<Option<String>>>;

    fn read(columns: usize, pieces: &[&[u8]]) -> Result<Rows, CopyError> {
        let mut rows = Rows::new();
        let mut text = CopyText::new(columns);
        for piece in pieces {
            text.feed(piece, &mut |values| {
                let text = |value: &Option<&[u8]>| value.map(|value| String::from_utf8(value.to_vec()).unwrap());
                rows.push(values.iter().map(text).collect());
            })?;
        }
        text.finish().map(|()| rows)
    }

    #[test]
    fn rows_are_read() {
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            ("1\ta\n2\t\\N\n", vec![vec![some("1"), some("a")], vec![some("2"), None]]),
            ("\\\\N\t\\\\\\\\\n", vec![vec![some("\\N"), some("\\\\")]]),
            ("\\b\\f\\n\\r\\t\\v\t\n", vec![vec![some("\u{8}\u{c}\n\r\t\u{b}"), some("")]]),
            ("\\.\té\n", vec![vec![some("."), some("é")]]),
            ("", vec![]),
        ];
        for (text, want) in cases {
            assert_eq!(read(2, &[text.as_bytes()]), Ok(want.clone()), "{text:?}");
            // However the bytes are cut, the rows are the same.
            for at in 0..text.len() {
                let (one, other) = text.as_bytes().split_at(at);
                assert_eq!(read(2, &[one, other]), Ok(want.clone()), "{text:?} cut at {at}");
            }
        }
        assert_eq!(read(1, &[b"\n"]), Ok(vec![vec![some("")]]));
    }

    #[test]
    fn what_is_no_row_is_refused() {
        assert_eq!(read(2, &[b"1\n"]), Err(CopyError::Columns { found: 1, want: 2 }));
        assert_eq!(read(2, &[b"1\t2\t3\n"]), Err(CopyError::Columns { found: 3, want: 2 }));
        assert_eq!(read(2, &[b"1\t2\n3"]), Err(CopyError::Unfinished));
    }
}
