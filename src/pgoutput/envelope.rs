//! What the server sends within CopyData while it replicates.

use super::{DecodeError, Reader, Timestamp};
use crate::model::Lsn;

/// One CopyData payload from the server (54.4 "Streaming Replication Protocol", START_REPLICATION).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// `w`, XLogData: one pgoutput message.
    Data {
        /// Where in the WAL the change is. Goes backwards between transactions; see [`crate::model::Event::Begin`].
        start: Lsn,
        /// For logical replication the same as `start`.
        end: Lsn,
        /// When it was sent.
        sent: Timestamp,
        /// The message.
        message: &'a [u8],
    },
    /// `k`, primary keepalive message.
    Keepalive {
        /// Everything before it has been sent.
        wal_end: Lsn,
        /// When it was sent.
        sent: Timestamp,
        /// Whether the server wants a status update soon.
        reply: bool,
    },
}

impl<'a> Envelope<'a> {
    /// Reads the payload of one CopyData.
    ///
    /// # Errors
    /// [`DecodeError`].
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        match payload.first() {
            Some(b'w') => {
                let mut reader = Reader::behind_tag("XLogData", payload);
                let start = reader.lsn("start of WAL")?;
                let end = reader.lsn("end of WAL")?;
                let sent = reader.timestamp("time sent")?;
                Ok(Envelope::Data { start, end, sent, message: reader.rest() })
            }
            Some(b'k') => {
                let mut reader = Reader::behind_tag("keepalive", payload);
                let wal_end = reader.lsn("end of WAL")?;
                let sent = reader.timestamp("time sent")?;
                let reply = reader.u8("reply requested")? != 0;
                reader.end()?;
                Ok(Envelope::Keepalive { wal_end, sent, reply })
            }
            Some(&tag) => Err(DecodeError::UnknownTag { tag }),
            None => Err(DecodeError::Empty),
        }
    }
}

impl std::fmt::Debug for Envelope<'_> {
    /// Shape only: values never reach logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Envelope::Data { start, message, .. } => write!(f, "Data({start}, {} bytes)", message.len()),
            Envelope::Keepalive { wal_end, reply, .. } => write!(f, "Keepalive({wal_end}, reply {reply})"),
        }
    }
}
