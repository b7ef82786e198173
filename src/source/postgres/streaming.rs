//! What the reader does about transactions that come before they commit.
//!
//! In: the messages of one connection, and what may be kept. Out: which of them are decoded now; what is to be written;
//! and, once such a transaction has committed, its bytes. Always: while one is replayed nothing of the socket is looked
//! at, so that transactions keep the order of their commits; what cannot be kept ends the stream and is noted, so that the
//! next stream is opened without ([`GivenUp`]). Not here: the parts (`in_progress`, `spool`, `replay`), memory and room.
//! Start at [`Streaming::takes`].

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use tokio::task::spawn_blocking;

use super::decode::Decoder;
use super::ending;
use super::framing::{self, Found, FramingError, HEADER};
use super::in_progress::{self, Committed, InProgress, Sorted, Write};
use super::replay::Replay;
use super::spool;
use crate::model::{Lsn, Reason};
use crate::status::SourceMeter;

/// Where transactions are kept that come before they commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The folder of the files, which have no names.
    pub folder: PathBuf,
    /// Most bytes of all of them together.
    pub bytes_max: u64,
}

/// How far transactions were received when one could not be kept; 0 if none was. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct GivenUp(Arc<AtomicU64>);

impl GivenUp {
    /// Whether a stream from this position may ask for them again: what could not be kept has most likely passed. If it
    /// has not, it is given up once more, and the stream after that comes whole. The next stream after one that was given
    /// up never may.
    pub(super) fn is_past(&self, from: Lsn) -> bool {
        let at = self.0.load(Relaxed);
        at == 0 || from.0 > at
    }

    fn note(&self, at: Lsn) {
        self.0.fetch_max(at.0.max(1), Relaxed);
    }
}

/// The state of one connection that asked for transactions in progress.
#[derive(Debug)]
pub(super) struct Streaming {
    in_progress: InProgress,
    given_up: GivenUp,
    meter: SourceMeter,
    /// The newest position told, or that the stream started from: no later stream starts behind it before more is told.
    reached: Lsn,
    /// The frame at hand ends with its commit.
    committed: Option<Committed>,
    replay: Option<Replay>,
}

impl Streaming {
    /// For a new connection, whose stream starts at `start`.
    ///
    /// # Errors
    /// Why nothing can be kept in the folder; then the stream is to be opened without.
    pub(super) fn new(options: &SpoolOptions, start: Lsn, given_up: GivenUp, meter: SourceMeter) -> io::Result<Self> {
        spool::probe(&options.folder)?;
        let in_progress = InProgress::new(&options.folder, options.bytes_max);
        Ok(Streaming { in_progress, given_up, meter, reached: start, committed: None, replay: None })
    }

    /// Whether a transaction that was put aside is replayed.
    pub(super) fn replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// Whether what comes now belongs to a transaction that is put aside.
    pub(super) fn is_open(&self) -> bool {
        self.in_progress.is_open()
    }

    /// What is decoded: the transaction that is replayed, or what came from the socket.
    pub(super) fn input<'a>(&'a mut self, socket: &'a mut BytesMut) -> &'a mut BytesMut {
        self.replay.as_mut().map_or(socket, |replay| &mut replay.buffer)
    }

    /// A keepalive told that everything that has committed before this position was sent.
    pub(super) fn heard(&mut self, wal_end: Lsn) {
        self.reached = self.reached.max(wal_end);
    }

    /// Looks for whole messages in it.
    ///
    /// # Errors
    /// [`FramingError`].
    pub(super) fn look(&self, socket: &[u8], bytes_max: usize) -> Result<Found, FramingError> {
        match &self.replay {
            Some(replay) => framing::find(&replay.buffer, bytes_max),
            None => framing::find_to(socket, bytes_max, in_progress::commits),
        }
    }

    /// Takes a message that is not to be decoded now: the one in this CopyData payload, which is a part of the frame.
    ///
    /// # Errors
    /// A message that cannot come here; a transaction that cannot be kept.
    #[inline]
    pub(super) fn takes(
        &mut self,
        (frame, payload): (&Bytes, &[u8]),
        (start, message): (Lsn, &[u8]),
        decoder: &mut Decoder,
    ) -> Result<bool, Reason> {
        if self.replaying() {
            return Ok(false);
        }
        self.reached = self.reached.max(start);
        match self.in_progress.sort(message, decoder.in_transaction())? {
            Sorted::Ordinary => return Ok(false),
            Sorted::Noted => {}
            Sorted::Aside => {
                let at = payload.as_ptr().addr() - frame.as_ptr().addr();
                let relation = (message.first() == Some(&b'R')).then(|| decoder.described_aside());
                let kept = self.in_progress.put_aside(at - HEADER..at + payload.len(), relation);
                kept.map_err(|error| self.give_up(error.into()))?;
            }
            Sorted::Committed(committed) => self.committed = Some(*committed),
        }
        Ok(true)
    }

    /// The frame was read to its end: what of it is to be written. Begins and ends replays.
    pub(super) fn read(&mut self, frame: &Bytes, decoder: &mut Decoder) -> Vec<Write> {
        if let Some(over) = self.replay.take_if(|replay| replay.is_over()) {
            self.in_progress.replayed(over.aside().bytes);
        }
        let writes = self.in_progress.writes(frame, self.committed.as_ref());
        if let Some(mut committed) = self.committed.take() {
            decoder.replay(&mut committed.aside);
            self.replay = Some(Replay::new(committed));
            self.meter.replayed();
        }
        self.meter.spooled(self.in_progress.bytes());
        writes
    }

    /// Reads at most that many bytes more of the transaction that is replayed.
    pub(super) fn fill(
        &mut self,
        bytes_max: usize,
    ) -> Option<impl Future<Output = io::Result<BytesMut>> + Send + use<>> {
        self.replay.as_mut().map(|replay| replay.fill(bytes_max))
    }

    /// They were read, or could not be.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn filled(&mut self, read: io::Result<BytesMut>) -> Result<(), Reason> {
        let buffer = read.map_err(|error| self.unusable(error))?;
        if let Some(replay) = &mut self.replay {
            replay.buffer = buffer;
        }
        Ok(())
    }

    /// Why the stream ends. A server that cannot decode a transaction in progress may be able to once it has committed:
    /// seen with PostgreSQL 15 where a table is altered after an ALTER of it was rolled back to a savepoint.
    pub(super) fn ended(&mut self, reason: Reason) -> Reason {
        if reason.code == ending::CANNOT_DECODE { self.give_up(ending::refused_in_parts(&reason)) } else { reason }
    }

    /// The disk failed.
    pub(super) fn unusable(&mut self, error: io::Error) -> Reason {
        let reason = self.in_progress.unusable(error);
        self.give_up(reason)
    }

    fn give_up(&mut self, reason: Reason) -> Reason {
        self.given_up.note(self.reached);
        self.meter.spool_given_up();
        reason
    }
}

/// Writes all of it.
pub(super) async fn write(writes: Vec<Write>) -> io::Result<()> {
    let write = move || writes.iter().try_for_each(|Write { spool, at, bytes }| spool.write(bytes, *at));
    spawn_blocking(write).await.unwrap_or_else(|broken| Err(io::Error::other(broken)))
}
