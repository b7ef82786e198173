//! Transactions that the server sends before they commit (protocol version 2, `streaming 'on'`).
//!
//! In: the messages of one connection in order. Out: for each, whether it is an ordinary one, was put aside, or says that
//! a transaction which was put aside has committed; and what is to be written to which spool. Always: what was put aside
//! is put aside as it came, frames of CopyData one after the other, in the order of the log; all spools together never
//! exceed their bound; a part of a transaction whose start is not here is refused, because something would be missing.
//! Not here: files (`spool`), and how what was put aside becomes events (`replay`, and the one decoder there is).
//! Start at [`InProgress::sort`].
//!
//! The messages of a streamed transaction stand between Stream Start and Stream Stop; other transactions come in
//! between such parts, streamed or not (PostgreSQL 18 documentation, 54.5.3).

use std::collections::HashMap;
use std::io;
use std::mem::take;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::decode::EventError;
use super::spool::Spool;
use super::xids::Xids;
use crate::model::{Class, Lsn, Reason};
use crate::pgoutput::{Context, Message, Timestamp};

/// The code of the reason that a stream ends with if it cannot keep what it is sent.
const UNUSABLE: &str = "STREAM_SPOOL_UNUSABLE";

/// Why a transaction cannot be kept until it commits.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// There is too much of it.
    #[error("transactions that have not committed take more than {bytes_max} bytes")]
    Full {
        /// The bound.
        bytes_max: u64,
    },
    /// The file cannot be used.
    #[error("what came of a transaction that has not committed cannot be kept in {}: {error}", folder.display())]
    Unusable {
        /// Where.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl From<SpoolError> for Reason {
    fn from(error: SpoolError) -> Reason {
        let (code, remedy) = match &error {
            SpoolError::Full { .. } => ("STREAM_SPOOL_FULL", "If there is room, give STREAM_SPOOL_BYTES more."),
            SpoolError::Unusable { .. } => {
                (UNUSABLE, "Give STREAM_SPOOL_FOLDER a folder with room that can be written.")
            }
        };
        let message = format!("{error}; the stream is opened again without them, and PostgreSQL keeps them itself");
        Reason::new(code, Class::Retry, "", message, format!("Nothing is lost. {remedy}"))
    }
}

/// What a message is.
#[derive(Debug)]
pub(super) enum Sorted {
    /// To be decoded now.
    Ordinary,
    /// To be put aside.
    Aside,
    /// About transactions that were put aside; taken note of.
    Noted,
    /// A transaction that was put aside has committed. Nothing that comes later may be looked at before it.
    Committed(Box<Committed>),
}

/// A transaction that was put aside and has committed.
#[derive(Debug)]
pub(super) struct Committed {
    /// Its top-level id.
    pub(super) xid: u32,
    /// Where its commit record is.
    pub(super) commit_lsn: Lsn,
    /// Where that ends.
    pub(super) end_lsn: Lsn,
    /// When it committed.
    pub(super) committed: Timestamp,
    /// What came of it.
    pub(super) aside: Aside,
}

/// What came of one transaction.
#[derive(Debug)]
pub(super) struct Aside {
    /// Holds its messages.
    pub(super) spool: Arc<Spool>,
    /// How many bytes they are.
    pub(super) bytes: u64,
    /// Its subtransactions that were rolled back.
    pub(super) rolled_back: Xids,
    /// How new each Relation message among them is, in their order.
    pub(super) relations: Vec<u64>,
}

/// Bytes to be written.
#[derive(Debug)]
pub(super) struct Write {
    /// Where to.
    pub(super) spool: Arc<Spool>,
    /// At which place.
    pub(super) at: u64,
    /// What.
    pub(super) bytes: Bytes,
}

/// The transactions that were put aside and have not committed.
#[derive(Debug)]
pub(super) struct InProgress {
    folder: Arc<Path>,
    bytes_max: u64,
    /// In all spools, that of a transaction being replayed included.
    bytes: u64,
    /// Between Stream Start and Stream Stop: the transaction.
    open: Option<u32>,
    transactions: HashMap<u32, Aside>,
    /// Parts of the frame at hand that are to be written: transaction, place in its spool, place in the frame.
    parts: Vec<(u32, u64, Range<usize>)>,
}

impl InProgress {
    /// For a new connection. The spools lie in `folder` and take `bytes_max` at most.
    pub(super) fn new(folder: &Path, bytes_max: u64) -> Self {
        InProgress {
            folder: folder.into(),
            bytes_max,
            bytes: 0,
            open: None,
            transactions: HashMap::new(),
            parts: Vec::new(),
        }
    }

    /// Whether what comes now belongs to a transaction that is put aside.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Bytes in all spools.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A replay is over and its spool gone.
    pub(super) fn replayed(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }

    /// Says what a message is. `inside` tells whether an ordinary transaction is being received.
    ///
    /// # Errors
    /// A message that cannot come here.
    #[inline]
    pub(super) fn sort(&mut self, message: &[u8], inside: bool) -> Result<Sorted, EventError> {
        match (message.first(), self.open) {
            (Some(b'S' | b'E' | b'A' | b'c'), _) => self.about(message, inside),
            (_, None) => Ok(Sorted::Ordinary),
            // Where a transaction first ran says nothing about rows, and alone among these has no transaction id.
            (Some(b'O'), _) => Ok(Sorted::Noted),
            (Some(b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M'), _) => Ok(Sorted::Aside),
            _ => {
                let message = Message::decode(message, Context::default())?.name();
                Err(EventError::Misplaced { message, place: "within a part of" })
            }
        }
    }

    fn about(&mut self, message: &[u8], inside: bool) -> Result<Sorted, EventError> {
        let message = Message::decode(message, Context::default())?;
        let name = message.name();
        let misplaced = |place| Err(EventError::Misplaced { message: name, place });
        match message {
            Message::StreamStop if self.open.take().is_none() => return misplaced("outside of a part of"),
            Message::StreamStop => {}
            _ if self.open.is_some() => return misplaced("within a part of"),
            _ if inside => return misplaced("inside of"),
            Message::StreamStart { xid, first } => self.start(xid, first)?,
            Message::StreamAbort { xid, subxid, .. } => self.abort(xid, subxid),
            Message::StreamCommit { xid, commit_lsn, end_lsn, committed } => {
                let aside = self.transactions.remove(&xid).ok_or(EventError::Unkept { xid })?;
                return Ok(Sorted::Committed(Box::new(Committed { xid, commit_lsn, end_lsn, committed, aside })));
            }
            _ => return Err(EventError::Unasked { message: name }),
        }
        Ok(Sorted::Noted)
    }

    fn start(&mut self, xid: u32, first: bool) -> Result<(), EventError> {
        if !first && !self.transactions.contains_key(&xid) {
            return Err(EventError::Unkept { xid });
        }
        self.transactions.entry(xid).or_insert_with(|| Aside {
            spool: Arc::new(Spool::new(self.folder.clone())),
            bytes: 0,
            rolled_back: Xids::default(),
            relations: Vec::new(),
        });
        self.open = Some(xid);
        Ok(())
    }

    /// Of the whole, all is thrown away, what was not written yet included; of a subtransaction, what came is left out
    /// when the rest is replayed.
    fn abort(&mut self, xid: u32, subxid: u32) {
        if xid == subxid {
            self.bytes -= self.transactions.remove(&xid).map_or(0, |aside| aside.bytes);
            self.parts.retain(|(part, ..)| *part != xid);
        } else if let Some(aside) = self.transactions.get_mut(&xid) {
            aside.rolled_back.insert(subxid);
        }
    }

    /// Puts a message aside: this part of the frame at hand. `relation` tells how new it is, if it is a Relation.
    ///
    /// # Errors
    /// [`SpoolError::Full`].
    #[inline]
    pub(super) fn put_aside(&mut self, part: Range<usize>, relation: Option<u64>) -> Result<(), SpoolError> {
        let Some((xid, aside)) = self.open.and_then(|xid| Some((xid, self.transactions.get_mut(&xid)?))) else {
            return Ok(());
        };
        let size = part.len() as u64;
        if self.bytes + size > self.bytes_max {
            return Err(SpoolError::Full { bytes_max: self.bytes_max });
        }
        match self.parts.last_mut() {
            Some((last, _, before)) if *last == xid && before.end == part.start => before.end = part.end,
            _ => self.parts.push((xid, aside.bytes, part)),
        }
        aside.relations.extend(relation);
        aside.bytes += size;
        self.bytes += size;
        Ok(())
    }

    /// What is to be written of the frame at hand, which is all read. The transaction that has just committed, if one
    /// has, is not among the others any more.
    pub(super) fn writes(&mut self, frame: &Bytes, committed: Option<&Committed>) -> Vec<Write> {
        let committed = committed.map(|committed| (committed.xid, &committed.aside));
        let find = |xid| committed.filter(|(found, _)| *found == xid).map(|(_, aside)| aside);
        let write = |(xid, at, part): (u32, u64, Range<usize>)| {
            let aside = find(xid).or_else(|| self.transactions.get(&xid))?;
            Some(Write { spool: aside.spool.clone(), at, bytes: frame.slice(part) })
        };
        take(&mut self.parts).into_iter().filter_map(write).collect()
    }

    /// What it means that a spool cannot be used.
    pub(super) fn unusable(&self, error: io::Error) -> Reason {
        SpoolError::Unusable { folder: self.folder.to_path_buf(), error }.into()
    }
}

/// Whether a whole message of the connection says that a streamed transaction has committed: then nothing behind it may
/// be looked at before that transaction is. CopyData, XLogData, Stream Commit.
#[inline]
pub(super) fn commits(message: &[u8]) -> bool {
    message.first() == Some(&b'd') && message.get(5) == Some(&b'w') && message.get(30) == Some(&b'c')
}
