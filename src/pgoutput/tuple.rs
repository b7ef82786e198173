//! TupleData: one row.

use super::{DecodeError, Reader};

/// A row whose layout has been checked. See [`crate::model::Row`] for the layout; here a fourth kind `b`, a value in
/// binary form, may occur too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    bytes: &'a [u8],
    binary: bool,
    unchanged: bool,
}

impl<'a> Tuple<'a> {
    /// Walks one tuple off the reader.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]; [`DecodeError::Unexpected`] for an unknown kind of value.
    #[inline]
    pub(super) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = reader.at();
        let columns = reader.u16("number of columns")?;
        let (mut binary, mut unchanged) = (false, false);
        for _ in 0..columns {
            let kind =
                reader.kind("kind of value", |kind| matches!(kind, b'n' | b'u' | b't' | b'b').then_some(kind))?;
            if matches!(kind, b't' | b'b') {
                let length = reader.u32("length of value")?;
                // A negative length becomes a huge one, which no message has left.
                reader.take("value", length as usize)?;
                binary |= kind == b'b';
            }
            unchanged |= kind == b'u';
        }
        Ok(Tuple { bytes: reader.since(start), binary, unchanged })
    }

    /// The whole layout, the number of columns included.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many columns there are.
    #[inline]
    pub fn columns(&self) -> u16 {
        self.bytes.first_chunk().map_or(0, |count| u16::from_be_bytes(*count))
    }

    /// Whether any value is an unchanged one that was not sent.
    #[inline]
    pub fn has_unchanged(&self) -> bool {
        self.unchanged
    }

    /// Whether any value is in binary form.
    #[inline]
    pub fn has_binary(&self) -> bool {
        self.binary
    }
}

impl std::fmt::Debug for Tuple<'_> {
    /// Shape only: values never reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tuple({} columns, {} bytes)", self.columns(), self.bytes.len())
    }
}
