//! The messages of pgoutput.

use super::{DecodeError, Reader, Timestamp, Tuple};
use crate::model::Lsn;

/// What must be known from outside the message to read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Between Stream Start and Stream Stop: the messages there begin with the transaction's id.
    pub in_stream: bool,
    /// `streaming=parallel` (protocol 4) was asked for: Stream Abort tells position and time.
    pub parallel: bool,
}

/// A row before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldTuple<'a> {
    /// `K`: only the columns of the replica identity hold values.
    Key(Tuple<'a>),
    /// `O`: the whole row; the replica identity is FULL.
    Full(Tuple<'a>),
}

/// A table's replica identity as Relation tells it (`pg_class.relreplident`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// `d`: the primary key.
    Default,
    /// `i`: a unique index.
    Index,
    /// `f`: the whole row.
    Full,
    /// `n`: none.
    Nothing,
}

/// One column in a Relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    /// Whether it belongs to the replica identity. Under FULL every column does.
    pub key: bool,
    /// Name.
    pub name: &'a str,
    /// OID of its type.
    pub type_oid: u32,
    /// `atttypmod`; -1 if there is none.
    pub typmod: i32,
}

/// The tables of a Truncate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Truncated<'a>(&'a [u8]);

/// One pgoutput message. `xid` is present in a streamed transaction only ([`Context::in_stream`]).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields carry the names of the specification, where they are described")]
pub enum Message<'a> {
    /// `B`. A transaction starts; `final_lsn` is where its commit record is.
    Begin { final_lsn: Lsn, committed: Timestamp, xid: u32 },
    /// `C`. It is complete; `end_lsn` is where its commit record ends.
    Commit { commit_lsn: Lsn, end_lsn: Lsn, committed: Timestamp },
    /// `O`. The transaction came to this server from another one.
    Origin { commit_lsn: Lsn, name: &'a str },
    /// `R`. A table as it is for the changes that follow. An empty `namespace` stands for `pg_catalog`.
    Relation {
        xid: Option<u32>,
        oid: u32,
        namespace: &'a str,
        name: &'a str,
        identity: ReplicaIdentity,
        columns: Vec<RelationColumn<'a>>,
    },
    /// `Y`. A type that is not built in; for a domain `namespace` and `name` are those of its base type. An empty
    /// `namespace` stands for `pg_catalog`.
    Type { xid: Option<u32>, oid: u32, namespace: &'a str, name: &'a str },
    /// `I`. A new row.
    Insert { xid: Option<u32>, relation: u32, new: Tuple<'a> },
    /// `U`. A changed row; `old` under FULL, and where the key changed.
    Update { xid: Option<u32>, relation: u32, old: Option<OldTuple<'a>>, new: Tuple<'a> },
    /// `D`. A row that is gone.
    Delete { xid: Option<u32>, relation: u32, old: OldTuple<'a> },
    /// `T`. All rows of these tables are gone.
    Truncate { xid: Option<u32>, cascade: bool, restart_identity: bool, relations: Truncated<'a> },
    /// `M`. Written by `pg_logical_emit_message`.
    Message { xid: Option<u32>, transactional: bool, lsn: Lsn, prefix: &'a str, content: &'a [u8] },
    /// `S`. What follows belongs to a transaction still in progress.
    StreamStart { xid: u32, first: bool },
    /// `E`. Enough of it for now.
    StreamStop,
    /// `c`. A streamed transaction is complete.
    StreamCommit { xid: u32, commit_lsn: Lsn, end_lsn: Lsn, committed: Timestamp },
    /// `A`. A streamed transaction, or the subtransaction `subxid` of it, was rolled back. `aborted` tells where and
    /// when ([`Context::parallel`]).
    StreamAbort { xid: u32, subxid: u32, aborted: Option<(Lsn, Timestamp)> },
    /// `b`. A transaction that was prepared starts.
    BeginPrepare { prepare_lsn: Lsn, end_lsn: Lsn, prepared: Timestamp, xid: u32, gid: &'a str },
    /// `P`. It is prepared.
    Prepare { prepare_lsn: Lsn, end_lsn: Lsn, prepared: Timestamp, xid: u32, gid: &'a str },
    /// `K`. A prepared transaction was committed.
    CommitPrepared { commit_lsn: Lsn, end_lsn: Lsn, committed: Timestamp, xid: u32, gid: &'a str },
    /// `r`. A prepared transaction was rolled back.
    RollbackPrepared {
        prepare_end_lsn: Lsn,
        rollback_end_lsn: Lsn,
        prepared: Timestamp,
        rolled_back: Timestamp,
        xid: u32,
        gid: &'a str,
    },
    /// `p`. A streamed transaction is prepared.
    StreamPrepare { prepare_lsn: Lsn, end_lsn: Lsn, prepared: Timestamp, xid: u32, gid: &'a str },
}

impl<'a> Message<'a> {
    /// Reads one message, all of it.
    ///
    /// # Errors
    /// [`DecodeError`] if `bytes` are not exactly one message.
    #[inline]
    pub fn decode(bytes: &'a [u8], context: Context) -> Result<Self, DecodeError> {
        let (message, reader) = match bytes.first() {
            Some(b'I') => insert(Reader::behind_tag("Insert", bytes), context)?,
            Some(b'U') => update(Reader::behind_tag("Update", bytes), context)?,
            Some(b'D') => delete(Reader::behind_tag("Delete", bytes), context)?,
            Some(&tag) => seldom(tag, bytes, context)?,
            None => return Err(DecodeError::Empty),
        };
        reader.end()?;
        Ok(message)
    }

    /// What the specification calls this message.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Begin { .. } => "Begin",
            Message::Commit { .. } => "Commit",
            Message::Origin { .. } => "Origin",
            Message::Relation { .. } => "Relation",
            Message::Type { .. } => "Type",
            Message::Insert { .. } => "Insert",
            Message::Update { .. } => "Update",
            Message::Delete { .. } => "Delete",
            Message::Truncate { .. } => "Truncate",
            Message::Message { .. } => "Message",
            Message::StreamStart { .. } => "Stream Start",
            Message::StreamStop => "Stream Stop",
            Message::StreamCommit { .. } => "Stream Commit",
            Message::StreamAbort { .. } => "Stream Abort",
            Message::BeginPrepare { .. } => "Begin Prepare",
            Message::Prepare { .. } => "Prepare",
            Message::CommitPrepared { .. } => "Commit Prepared",
            Message::RollbackPrepared { .. } => "Rollback Prepared",
            Message::StreamPrepare { .. } => "Stream Prepare",
        }
    }
}

impl<'a> Truncated<'a> {
    /// Four bytes for each table.
    #[cfg(test)]
    pub(crate) fn over(oids: &'a [u8]) -> Self {
        Truncated(oids)
    }

    /// The tables' OIDs in the order sent.
    pub fn oids(self) -> impl Iterator<Item = u32> + 'a {
        self.0.chunks_exact(4).map(|oid| oid.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}

impl std::fmt::Debug for Truncated<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.oids()).finish()
    }
}

/// A message and the reader behind it.
type Read<'a> = Result<(Message<'a>, Reader<'a>), DecodeError>;

#[inline]
fn xid(reader: &mut Reader<'_>, context: Context) -> Result<Option<u32>, DecodeError> {
    if context.in_stream { reader.u32("transaction id").map(Some) } else { Ok(None) }
}

/// The byte that tells which tuple follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TupleKind {
    Key,
    Old,
    New,
}

#[inline]
fn tuple_kind(reader: &mut Reader<'_>, allowed: &[TupleKind]) -> Result<TupleKind, DecodeError> {
    reader.kind("kind of tuple", |byte| {
        let kind = match byte {
            b'K' => TupleKind::Key,
            b'O' => TupleKind::Old,
            b'N' => TupleKind::New,
            _ => return None,
        };
        allowed.contains(&kind).then_some(kind)
    })
}

#[inline]
fn insert<'a>(mut r: Reader<'a>, context: Context) -> Read<'a> {
    let xid = xid(&mut r, context)?;
    let relation = r.u32("relation")?;
    tuple_kind(&mut r, &[TupleKind::New])?;
    let new = Tuple::decode(&mut r)?;
    Ok((Message::Insert { xid, relation, new }, r))
}

#[inline]
fn update<'a>(mut r: Reader<'a>, context: Context) -> Read<'a> {
    let xid = xid(&mut r, context)?;
    let relation = r.u32("relation")?;
    let old = match tuple_kind(&mut r, &[TupleKind::Key, TupleKind::Old, TupleKind::New])? {
        TupleKind::Key => Some(OldTuple::Key(Tuple::decode(&mut r)?)),
        TupleKind::Old => Some(OldTuple::Full(Tuple::decode(&mut r)?)),
        TupleKind::New => None,
    };
    if old.is_some() {
        tuple_kind(&mut r, &[TupleKind::New])?;
    }
    let new = Tuple::decode(&mut r)?;
    Ok((Message::Update { xid, relation, old, new }, r))
}

#[inline]
fn delete<'a>(mut r: Reader<'a>, context: Context) -> Read<'a> {
    let xid = xid(&mut r, context)?;
    let relation = r.u32("relation")?;
    let kind = tuple_kind(&mut r, &[TupleKind::Key, TupleKind::Old])?;
    let tuple = Tuple::decode(&mut r)?;
    let old = if kind == TupleKind::Key { OldTuple::Key(tuple) } else { OldTuple::Full(tuple) };
    Ok((Message::Delete { xid, relation, old }, r))
}

/// Everything that does not come once per row.
#[inline(never)]
fn seldom<'a>(tag: u8, bytes: &'a [u8], context: Context) -> Read<'a> {
    let read = |name| Reader::behind_tag(name, bytes);
    match tag {
        b'B' => begin(read("Begin")),
        b'C' => commit(read("Commit")),
        b'O' => origin(read("Origin")),
        b'R' => relation(read("Relation"), context),
        b'Y' => type_(read("Type"), context),
        b'T' => truncate(read("Truncate"), context),
        b'M' => logical_message(read("Message"), context),
        b'S' => stream_start(read("Stream Start")),
        b'E' => Ok((Message::StreamStop, read("Stream Stop"))),
        b'c' => stream_commit(read("Stream Commit")),
        b'A' => stream_abort(read("Stream Abort"), context),
        b'b' => two_phase(read("Begin Prepare"), false, |[prepare_lsn, end_lsn], prepared, xid, gid| {
            Message::BeginPrepare { prepare_lsn, end_lsn, prepared, xid, gid }
        }),
        b'P' => two_phase(read("Prepare"), true, |[prepare_lsn, end_lsn], prepared, xid, gid| Message::Prepare {
            prepare_lsn,
            end_lsn,
            prepared,
            xid,
            gid,
        }),
        b'K' => two_phase(read("Commit Prepared"), true, |[commit_lsn, end_lsn], committed, xid, gid| {
            Message::CommitPrepared { commit_lsn, end_lsn, committed, xid, gid }
        }),
        b'p' => two_phase(read("Stream Prepare"), true, |[prepare_lsn, end_lsn], prepared, xid, gid| {
            Message::StreamPrepare { prepare_lsn, end_lsn, prepared, xid, gid }
        }),
        b'r' => rollback_prepared(read("Rollback Prepared")),
        _ => Err(DecodeError::UnknownTag { tag }),
    }
}

fn begin(mut r: Reader<'_>) -> Read<'_> {
    let final_lsn = r.lsn("final LSN")?;
    let committed = r.timestamp("commit time")?;
    let xid = r.u32("transaction id")?;
    Ok((Message::Begin { final_lsn, committed, xid }, r))
}

/// Flags that are not used yet. A set one would change what the message means.
fn no_flags(r: &mut Reader<'_>) -> Result<(), DecodeError> {
    r.kind("flags", |flags| (flags == 0).then_some(()))
}

fn commit(mut r: Reader<'_>) -> Read<'_> {
    no_flags(&mut r)?;
    let commit_lsn = r.lsn("commit LSN")?;
    let end_lsn = r.lsn("end LSN")?;
    let committed = r.timestamp("commit time")?;
    Ok((Message::Commit { commit_lsn, end_lsn, committed }, r))
}

fn origin(mut r: Reader<'_>) -> Read<'_> {
    let commit_lsn = r.lsn("commit LSN")?;
    let name = r.string("name")?;
    Ok((Message::Origin { commit_lsn, name }, r))
}

fn relation<'a>(mut r: Reader<'a>, context: Context) -> Read<'a> {
    let xid = xid(&mut r, context)?;
    let oid = r.u32("relation")?;
    let namespace = r.string("namespace")?;
    let name = r.string("name")?;
    let identity = r.kind("replica identity", |byte| match byte {
        b'd' => Some(ReplicaIdentity::Default),
        b'i' => Some(ReplicaIdentity::Index),
        b'f' => Some(ReplicaIdentity::Full),
        b'n' => Some(ReplicaIdentity::Nothing),
        _ => None,
    })?;
    let count = r.u16("number of columns")?;
    // The count is not trusted: a column takes ten bytes at least.
    let mut columns = Vec::with_capacity(usize::from(count).min(r.left() / 10));
    for _ in 0..count {
        columns.push(RelationColumn {
            key: r.u8("flags of column")? & 1 != 0,
            name: r.string("name of column")?,
            type_oid: r.u32("type of column")?,
            typmod: r.i32("type modifier of column")?,
        });
    }
    Ok((Message::Relation { xid, oid, namespace, name, identity, columns }, r))
}

fn type_<'a>(mut r: Reader<'a>, context: Context) -> Read<'a> {
    let xid = xid(&mut r, context)?;
    let oid = r.u32("type")?;
    let namespace = r.string("namespace")?;
    let name = r.string("name")?;
    Ok((Message::Type { xid, oid, namespace, name }, r))
}

fn truncate<'a>(mut r: Reader<'a>, context: Context) -> Read<'a> {
    let xid = xid(&mut r, context)?;
    let count = r.u32("number of relations")?;
    let options = r.u8("options")?;
    let relations = Truncated(r.take("relations", (count as usize).saturating_mul(4))?);
    let (cascade, restart_identity) = (options & 1 != 0, options & 2 != 0);
    Ok((Message::Truncate { xid, cascade, restart_identity, relations }, r))
}

fn logical_message<'a>(mut r: Reader<'a>, context: Context) -> Read<'a> {
    let xid = xid(&mut r, context)?;
    let transactional = r.u8("flags")? & 1 != 0;
    let lsn = r.lsn("LSN")?;
    let prefix = r.string("prefix")?;
    let length = r.u32("length of content")?;
    let content = r.take("content", length as usize)?;
    Ok((Message::Message { xid, transactional, lsn, prefix, content }, r))
}

fn stream_start(mut r: Reader<'_>) -> Read<'_> {
    let xid = r.u32("transaction id")?;
    let first = r.u8("first segment")? != 0;
    Ok((Message::StreamStart { xid, first }, r))
}

fn stream_commit(mut r: Reader<'_>) -> Read<'_> {
    let xid = r.u32("transaction id")?;
    no_flags(&mut r)?;
    let commit_lsn = r.lsn("commit LSN")?;
    let end_lsn = r.lsn("end LSN")?;
    let committed = r.timestamp("commit time")?;
    Ok((Message::StreamCommit { xid, commit_lsn, end_lsn, committed }, r))
}

fn stream_abort<'a>(mut r: Reader<'a>, context: Context) -> Read<'a> {
    let xid = r.u32("transaction id")?;
    let subxid = r.u32("subtransaction id")?;
    let aborted = if context.parallel { Some((r.lsn("abort LSN")?, r.timestamp("abort time")?)) } else { None };
    Ok((Message::StreamAbort { xid, subxid, aborted }, r))
}

/// The messages about a prepared transaction that have two positions, a time, a transaction id and its name.
fn two_phase<'a>(
    mut r: Reader<'a>,
    flags: bool,
    message: impl FnOnce([Lsn; 2], Timestamp, u32, &'a str) -> Message<'a>,
) -> Read<'a> {
    if flags {
        no_flags(&mut r)?;
    }
    let lsns = [r.lsn("LSN")?, r.lsn("end LSN")?];
    let time = r.timestamp("time")?;
    let xid = r.u32("transaction id")?;
    let gid = r.string("gid")?;
    Ok((message(lsns, time, xid, gid), r))
}

fn rollback_prepared(mut r: Reader<'_>) -> Read<'_> {
    no_flags(&mut r)?;
    let prepare_end_lsn = r.lsn("end LSN of prepare")?;
    let rollback_end_lsn = r.lsn("end LSN of rollback")?;
    let prepared = r.timestamp("prepare time")?;
    let rolled_back = r.timestamp("rollback time")?;
    let xid = r.u32("transaction id")?;
    let gid = r.string("gid")?;
    Ok((Message::RollbackPrepared { prepare_end_lsn, rollback_end_lsn, prepared, rolled_back, xid, gid }, r))
}
