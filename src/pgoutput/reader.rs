//! Takes fields off the front of a message and checks every length.

use super::Timestamp;
use crate::model::Lsn;

/// Why bytes are not a message. Names the message, the field and the byte, counted from 0 at the message's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ends too early.
    #[error("pgoutput {message} ends at byte {at}: {field} needs {need} bytes, {left} left")]
    Truncated {
        /// The message.
        message: &'static str,
        /// The field that does not fit.
        field: &'static str,
        /// Where the field starts.
        at: usize,
        /// Bytes it needs.
        need: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A string has no zero byte at its end.
    #[error("pgoutput {message}: {field} at byte {at} has no end")]
    Endless {
        /// The message.
        message: &'static str,
        /// The string.
        field: &'static str,
        /// Where it starts.
        at: usize,
    },
    /// A name is not UTF-8.
    #[error("pgoutput {message}: {field} at byte {at} is not UTF-8")]
    NotUtf8 {
        /// The message.
        message: &'static str,
        /// The name.
        field: &'static str,
        /// Where it starts.
        at: usize,
    },
    /// A byte that stands for a kind stands for none that is known.
    #[error("pgoutput {message}: {field} at byte {at} is 0x{found:02x}, which has no meaning there")]
    Unexpected {
        /// The message.
        message: &'static str,
        /// What the byte should tell.
        field: &'static str,
        /// Where it is.
        at: usize,
        /// The byte.
        found: u8,
    },
    /// Bytes follow the end of the message.
    #[error("pgoutput {message} is complete at byte {at}, yet {left} bytes follow")]
    Trailing {
        /// The message.
        message: &'static str,
        /// Where it is complete.
        at: usize,
        /// Bytes that follow.
        left: usize,
    },
    /// There is no such message.
    #[error("pgoutput has no message with tag 0x{tag:02x}")]
    UnknownTag {
        /// Its first byte.
        tag: u8,
    },
    /// There is not even a first byte.
    #[error("pgoutput message is empty")]
    Empty,
}

/// Bytes of one message and how far they have been read.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    message: &'static str,
}

impl<'a> Reader<'a> {
    /// Starts behind the tag of `bytes`; `message` names them in errors.
    #[inline]
    pub fn behind_tag(message: &'static str, bytes: &'a [u8]) -> Self {
        Reader { bytes, at: bytes.len().min(1), message }
    }

    /// The next `need` bytes. Every length is checked here and nowhere else.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn take(&mut self, field: &'static str, need: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        match rest.get(..need) {
            Some(taken) => {
                self.at += need;
                Ok(taken)
            }
            None => {
                let (message, at, left) = (self.message, self.at, rest.len());
                Err(DecodeError::Truncated { message, field, at, need, left })
            }
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    /// An int8.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    /// An int16 that counts.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// An int32 that counts or identifies.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// An int32 with a sign.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.array(field).map(i32::from_be_bytes)
    }

    /// A position.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn lsn(&mut self, field: &'static str) -> Result<Lsn, DecodeError> {
        self.array(field).map(u64::from_be_bytes).map(Lsn)
    }

    /// A point in time.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn timestamp(&mut self, field: &'static str) -> Result<Timestamp, DecodeError> {
        self.array(field).map(i64::from_be_bytes).map(Timestamp)
    }

    /// A string that ends with a zero byte, without it.
    ///
    /// # Errors
    /// [`DecodeError::Endless`] and [`DecodeError::NotUtf8`].
    pub fn string(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let (message, at) = (self.message, self.at);
        let length = memchr::memchr(0, &self.bytes[at..]).ok_or(DecodeError::Endless { message, field, at })?;
        let text = self.take(field, length)?;
        self.take(field, 1)?;
        simdutf8::basic::from_utf8(text).map_err(|_| DecodeError::NotUtf8 { message, field, at })
    }

    /// A byte that tells a kind; `known` says what it may be.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] and [`DecodeError::Unexpected`].
    #[inline]
    pub fn kind<T>(&mut self, field: &'static str, known: impl FnOnce(u8) -> Option<T>) -> Result<T, DecodeError> {
        let at = self.at;
        let found = self.u8(field)?;
        known(found).ok_or(DecodeError::Unexpected { message: self.message, field, at, found })
    }

    /// Bytes left.
    #[inline]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// How far it is, in bytes from the tag.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The bytes since `start`, which was an [`Reader::at`] of this reader.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    /// Everything that is left.
    #[inline]
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// Makes sure that nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    #[inline]
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { message: self.message, at: self.at, left }),
        }
    }
}
