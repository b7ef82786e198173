//! The other direction, for tests: messages to bytes.

use super::{Context, Message, OldTuple, ReplicaIdentity, Timestamp, Tuple};
use crate::model::{Lsn, Value};

/// The bytes of one message.
pub(crate) fn message(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match *message {
        Message::Begin { final_lsn, committed, xid } => {
            out.put(b'B').lsn(final_lsn).time(committed).u32(xid);
        }
        Message::Commit { commit_lsn, end_lsn, committed } => {
            out.put(b'C').put(0).lsn(commit_lsn).lsn(end_lsn).time(committed);
        }
        Message::Origin { commit_lsn, name } => {
            out.put(b'O').lsn(commit_lsn).text(name);
        }
        Message::Relation { xid, oid, namespace, name, identity, ref columns } => {
            let identity = match identity {
                ReplicaIdentity::Default => b'd',
                ReplicaIdentity::Index => b'i',
                ReplicaIdentity::Full => b'f',
                ReplicaIdentity::Nothing => b'n',
            };
            out.put(b'R').xid(xid).u32(oid).text(namespace).text(name).put(identity);
            out.extend((columns.len() as u16).to_be_bytes());
            for column in columns {
                out.put(column.key.into()).text(column.name).u32(column.type_oid).u32(column.typmod as u32);
            }
        }
        Message::Type { xid, oid, namespace, name } => {
            out.put(b'Y').xid(xid).u32(oid).text(namespace).text(name);
        }
        Message::Insert { xid, relation, new } => {
            out.put(b'I').xid(xid).u32(relation).put(b'N').extend(new.bytes());
        }
        Message::Update { xid, relation, old, new } => {
            out.put(b'U').xid(xid).u32(relation);
            if let Some(old) = old {
                out.old(old);
            }
            out.put(b'N').extend(new.bytes());
        }
        Message::Delete { xid, relation, old } => {
            out.put(b'D').xid(xid).u32(relation).old(old);
        }
        Message::Truncate { xid, cascade, restart_identity, relations } => {
            let options = u8::from(cascade) | u8::from(restart_identity) << 1;
            out.put(b'T').xid(xid).u32(relations.oids().count() as u32).put(options);
            relations.oids().for_each(|oid| out.extend(oid.to_be_bytes()));
        }
        Message::Message { xid, transactional, lsn, prefix, content } => {
            out.put(b'M').xid(xid).put(transactional.into()).lsn(lsn).text(prefix);
            out.u32(content.len() as u32).extend(content);
        }
        _ => streamed_or_prepared(message, &mut out),
    }
    out
}

fn streamed_or_prepared(message: &Message<'_>, out: &mut Vec<u8>) {
    match *message {
        Message::StreamStart { xid, first } => {
            out.put(b'S').u32(xid).put(first.into());
        }
        Message::StreamStop => {
            out.put(b'E');
        }
        Message::StreamCommit { xid, commit_lsn, end_lsn, committed } => {
            out.put(b'c').u32(xid).put(0).lsn(commit_lsn).lsn(end_lsn).time(committed);
        }
        Message::StreamAbort { xid, subxid, aborted } => {
            out.put(b'A').u32(xid).u32(subxid);
            if let Some((lsn, time)) = aborted {
                out.lsn(lsn).time(time);
            }
        }
        Message::BeginPrepare { prepare_lsn, end_lsn, prepared, xid, gid } => {
            out.put(b'b').lsn(prepare_lsn).lsn(end_lsn).time(prepared).u32(xid).text(gid);
        }
        Message::Prepare { prepare_lsn, end_lsn, prepared, xid, gid } => {
            out.put(b'P').put(0).lsn(prepare_lsn).lsn(end_lsn).time(prepared).u32(xid).text(gid);
        }
        Message::CommitPrepared { commit_lsn, end_lsn, committed, xid, gid } => {
            out.put(b'K').put(0).lsn(commit_lsn).lsn(end_lsn).time(committed).u32(xid).text(gid);
        }
        Message::RollbackPrepared { prepare_end_lsn, rollback_end_lsn, prepared, rolled_back, xid, gid } => {
            out.put(b'r').put(0).lsn(prepare_end_lsn).lsn(rollback_end_lsn);
            out.time(prepared).time(rolled_back).u32(xid).text(gid);
        }
        Message::StreamPrepare { prepare_lsn, end_lsn, prepared, xid, gid } => {
            out.put(b'p').put(0).lsn(prepare_lsn).lsn(end_lsn).time(prepared).u32(xid).text(gid);
        }
        _ => unreachable!("{} is encoded by its caller", message.name()),
    }
}

/// The bytes of a tuple.
pub(crate) fn tuple(values: &[Value<'_>]) -> Vec<u8> {
    let mut out = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        match value {
            Value::Null => out.push(b'n'),
            Value::Unchanged => out.push(b'u'),
            Value::Text(text) => out.put(b't').u32(text.len() as u32).extend(*text),
        }
    }
    out
}

/// The bytes of an insert, from which [`new_tuple`] takes the tuple: tuples only ever come out of messages.
pub(crate) fn insert(relation: u32, values: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put(b'I').u32(relation).put(b'N').extend(tuple(values));
    out
}

/// The tuple within the bytes of an insert.
pub(crate) fn new_tuple(insert: &[u8]) -> Tuple<'_> {
    match Message::decode(insert, Context::default()) {
        Ok(Message::Insert { new, .. }) => new,
        other => panic!("not an insert: {other:?}"),
    }
}

/// A CopyData message from the server with one pgoutput message in it.
pub(crate) fn xlog_data(start: Lsn, message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.put(b'w').lsn(start).lsn(start).time(Timestamp(0)).extend(message);
    copy_data(&payload)
}

/// A CopyData message from the server with a keepalive in it.
pub(crate) fn keepalive(wal_end: Lsn, reply: bool) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.put(b'k').lsn(wal_end).time(Timestamp(0)).put(reply.into());
    copy_data(&payload)
}

/// A CopyData message.
pub(crate) fn copy_data(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put(b'd').u32(payload.len() as u32 + 4).extend(payload);
    out
}

trait Put {
    fn put(&mut self, byte: u8) -> &mut Self;
    fn u32(&mut self, number: u32) -> &mut Self;
    fn xid(&mut self, xid: Option<u32>) -> &mut Self;
    fn lsn(&mut self, lsn: Lsn) -> &mut Self;
    fn time(&mut self, time: Timestamp) -> &mut Self;
    fn text(&mut self, text: &str) -> &mut Self;
    fn old(&mut self, old: OldTuple<'_>);
}

impl Put for Vec<u8> {
    fn put(&mut self, byte: u8) -> &mut Self {
        self.push(byte);
        self
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.extend(number.to_be_bytes());
        self
    }

    fn xid(&mut self, xid: Option<u32>) -> &mut Self {
        if let Some(xid) = xid { self.u32(xid) } else { self }
    }

    fn lsn(&mut self, lsn: Lsn) -> &mut Self {
        self.extend(lsn.0.to_be_bytes());
        self
    }

    fn time(&mut self, time: Timestamp) -> &mut Self {
        self.extend(time.0.to_be_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.extend(text.bytes());
        self.put(0)
    }

    fn old(&mut self, old: OldTuple<'_>) {
        let (kind, tuple) = match old {
            OldTuple::Key(tuple) => (b'K', tuple),
            OldTuple::Full(tuple) => (b'O', tuple),
        };
        self.put(kind).extend(tuple.bytes());
    }
}
