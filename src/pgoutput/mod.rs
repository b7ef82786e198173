//! Reads pgoutput, the logical replication messages of PostgreSQL, and the envelopes they travel in.
//!
//! In: the bytes of one message. Out: a [`Message`] (or an [`Envelope`]) that borrows from them: nothing is copied
//! and nothing is allocated for a change of a row. Always: every length is checked by one function ([`Reader::take`]),
//! so that bytes from outside end in a [`DecodeError`] and never in a panic; a message must be used up to its last
//! byte. Not here: the connection, which tables are meant, what a change means. Start at [`Message::decode`].
//!
//! Format: PostgreSQL 18 documentation, 54.9 "Logical Replication Message Formats" (protocol versions 1 to 4) and
//! 54.4 "Streaming Replication Protocol". Numbers are big-endian; a string ends with a zero byte.

mod envelope;
mod message;
mod reader;
mod tuple;

#[cfg(test)]
pub(crate) mod encode;

pub use envelope::Envelope;
pub use message::{Context, Message, OldTuple, RelationColumn, ReplicaIdentity, Truncated};
pub use reader::{DecodeError, Reader};
pub use tuple::Tuple;

/// A point in time as PostgreSQL sends it: microseconds since 2000-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Microseconds from 1970-01-01 to 2000-01-01 UTC.
    const EPOCH_UNIX_MICROS: i64 = 946_684_800_000_000;

    /// The same point in microseconds since 1970-01-01 UTC; the nearest one that fits.
    pub fn unix_micros(self) -> i64 {
        self.0.saturating_add(Self::EPOCH_UNIX_MICROS)
    }

    /// The point that many microseconds after 1970-01-01 UTC.
    pub fn from_unix_micros(micros: i64) -> Self {
        Timestamp(micros.saturating_sub(Self::EPOCH_UNIX_MICROS))
    }
}

#[cfg(test)]
mod tests;
