//! Turns a committed transaction that was put aside into the bytes that the server would have sent without streaming.
//!
//! In: what was put aside. Out: Begin, the messages from the spool, Commit, each a CopyData message, in pieces. The
//! messages still begin with the id of their (sub)transaction: the decoder leaves out those that were rolled back.
//! Not here: memory and room, which these bytes wait for like those from the socket (`core`). Start at [`Replay::fill`].

use std::future::Future;
use std::io;

use bytes::{BufMut, BytesMut};
use tokio::task::spawn_blocking;

use super::in_progress::{Aside, Committed};
use crate::model::Lsn;

/// A transaction on its way.
#[derive(Debug)]
pub(super) struct Replay {
    /// What was read and not decoded yet.
    pub(super) buffer: BytesMut,
    aside: Aside,
    /// How much was read.
    at: u64,
    /// Comes last.
    commit: BytesMut,
}

impl Replay {
    /// From its start.
    pub(super) fn new(committed: Committed) -> Self {
        let Committed { xid, commit_lsn, end_lsn, committed, aside } = committed;
        let (mut begin, mut commit) = (BytesMut::new(), BytesMut::new());
        begin.put_u8(b'B');
        begin.put_u64(commit_lsn.0);
        begin.put_i64(committed.0);
        begin.put_u32(xid);
        commit.put_slice(b"C\0");
        commit.put_u64(commit_lsn.0);
        commit.put_u64(end_lsn.0);
        commit.put_i64(committed.0);
        Replay { buffer: copy_data(&begin), aside, at: 0, commit: copy_data(&commit) }
    }

    /// What came of the transaction.
    pub(super) fn aside(&self) -> &Aside {
        &self.aside
    }

    /// Whether all of it was decoded.
    pub(super) fn is_over(&self) -> bool {
        self.buffer.is_empty() && self.commit.is_empty()
    }

    /// Reads at most that many bytes more. Gives back the buffer, which belongs to `buffer` again.
    pub(super) fn fill(&mut self, bytes_max: usize) -> impl Future<Output = io::Result<BytesMut>> + Send + use<> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let at = self.at;
        let bytes = (self.aside.bytes - at).min(bytes_max as u64) as usize;
        self.at += bytes as u64;
        let commit = if self.at == self.aside.bytes { std::mem::take(&mut self.commit) } else { BytesMut::new() };
        let spool = self.aside.spool.clone();
        async move {
            if bytes == 0 && commit.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let read = move || {
                let start = buffer.len();
                if bytes > 0 {
                    buffer.reserve(bytes + commit.len());
                    buffer.resize(start + bytes, 0);
                    spool.read(&mut buffer[start..], at)?;
                }
                buffer.extend_from_slice(&commit);
                Ok(buffer)
            };
            spawn_blocking(read).await.unwrap_or_else(|broken| Err(io::Error::other(broken)))
        }
    }
}

/// A CopyData message with an XLogData in it that holds this pgoutput message.
fn copy_data(message: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u8(b'd');
    out.put_u32(4 + 25 + message.len() as u32);
    out.put_u8(b'w');
    // Where it stands in the log was told when its parts came, and when it was sent is of no interest.
    out.put_u64(Lsn::INVALID.0);
    out.put_u64(Lsn::INVALID.0);
    out.put_i64(0);
    out.put_slice(message);
    out
}
