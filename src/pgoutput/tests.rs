//! Whatever is encoded is decoded to the same, and whatever is cut or altered is an error with its place.

use proptest::prelude::*;

use super::encode::{self, new_tuple};
use super::*;
use crate::model::{Lsn, Value};

/// Raw material for any message.
#[derive(Clone, Debug)]
struct Material {
    tag: u8,
    xid: Option<u32>,
    numbers: [u64; 5],
    flags: [bool; 2],
    names: [String; 2],
    identity: ReplicaIdentity,
    columns: Vec<(bool, String, u32, i32)>,
    content: Vec<u8>,
    oids: Vec<u8>,
    /// Two inserts, for their tuples.
    rows: [Vec<u8>; 2],
}

const TAGS: &[u8] = b"BCORYIUDTMSEcAbPKrp";

fn name() -> impl Strategy<Value = String> {
    "[^\0]{0,12}"
}

fn value(of: &Option<Option<Vec<u8>>>) -> Value<'_> {
    match of {
        None => Value::Null,
        Some(None) => Value::Unchanged,
        Some(Some(text)) => Value::Text(text),
    }
}

fn row() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        Just(None),
        Just(Some(None)),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|text| Some(Some(text)))
    ];
    proptest::collection::vec(kind, 0..6)
        .prop_map(|values| encode::insert(1, &values.iter().map(value).collect::<Vec<_>>()))
}

fn material() -> impl Strategy<Value = Material> {
    let identity = prop_oneof![
        Just(ReplicaIdentity::Default),
        Just(ReplicaIdentity::Index),
        Just(ReplicaIdentity::Full),
        Just(ReplicaIdentity::Nothing)
    ];
    let columns = proptest::collection::vec((any::<bool>(), name(), any::<u32>(), any::<i32>()), 0..5);
    let oids = proptest::collection::vec(any::<[u8; 4]>(), 0..4).prop_map(|oids| oids.concat());
    let scalars = (proptest::sample::select(TAGS), any::<Option<u32>>(), any::<[u64; 5]>(), any::<[bool; 2]>());
    let content = proptest::collection::vec(any::<u8>(), 0..20);
    (scalars, [name(), name()], identity, columns, content, oids, [row(), row()]).prop_map(
        |((tag, xid, numbers, flags), names, identity, columns, content, oids, rows)| Material {
            tag,
            xid,
            numbers,
            flags,
            names,
            identity,
            columns,
            content,
            oids,
            rows,
        },
    )
}

fn column((key, name, type_oid, typmod): &(bool, String, u32, i32)) -> RelationColumn<'_> {
    RelationColumn { key: *key, name, type_oid: *type_oid, typmod: *typmod }
}

impl Material {
    /// The message, and the context in which it is read back.
    fn message(&self) -> (Message<'_>, Context) {
        let [a, b, c, d, e] = self.numbers;
        let (lsns, times, id) = ([Lsn(a), Lsn(b)], [Timestamp(c as i64), Timestamp(d as i64)], e as u32);
        let ([one, two], [prepare_lsn, end_lsn], [prepared, _]) = (&self.names, lsns, times);
        let (xid, commit_lsn, committed, gid) = (self.xid, lsns[0], times[0], one.as_str());
        let [new, old] = [new_tuple(&self.rows[0]), new_tuple(&self.rows[1])];
        let old = if self.flags[0] { OldTuple::Key(old) } else { OldTuple::Full(old) };
        let context = Context { in_stream: xid.is_some(), parallel: self.flags[0] };
        let message = match self.tag {
            b'B' => Message::Begin { final_lsn: lsns[0], committed, xid: id },
            b'C' => Message::Commit { commit_lsn, end_lsn, committed },
            b'O' => Message::Origin { commit_lsn, name: one },
            b'R' => {
                let columns = self.columns.iter().map(column).collect();
                Message::Relation { xid, oid: id, namespace: one, name: two, identity: self.identity, columns }
            }
            b'Y' => Message::Type { xid, oid: id, namespace: one, name: two },
            b'I' => Message::Insert { xid, relation: id, new },
            b'U' => Message::Update { xid, relation: id, old: self.flags[1].then_some(old), new },
            b'D' => Message::Delete { xid, relation: id, old },
            b'T' => {
                let [cascade, restart_identity] = self.flags;
                Message::Truncate { xid, cascade, restart_identity, relations: Truncated::over(&self.oids) }
            }
            b'M' => {
                let transactional = self.flags[1];
                Message::Message { xid, transactional, lsn: lsns[0], prefix: one, content: &self.content }
            }
            b'S' => Message::StreamStart { xid: id, first: self.flags[1] },
            b'E' => Message::StreamStop,
            b'c' => Message::StreamCommit { xid: id, commit_lsn, end_lsn, committed },
            b'A' => {
                let aborted = context.parallel.then_some((lsns[0], times[0]));
                Message::StreamAbort { xid: id, subxid: a as u32, aborted }
            }
            b'b' => Message::BeginPrepare { prepare_lsn, end_lsn, prepared, xid: id, gid },
            b'P' => Message::Prepare { prepare_lsn, end_lsn, prepared, xid: id, gid },
            b'K' => Message::CommitPrepared { commit_lsn, end_lsn, committed, xid: id, gid },
            b'r' => {
                let [prepared, rolled_back] = times;
                let [prepare_end_lsn, rollback_end_lsn] = lsns;
                Message::RollbackPrepared { prepare_end_lsn, rollback_end_lsn, prepared, rolled_back, xid: id, gid }
            }
            b'p' => Message::StreamPrepare { prepare_lsn, end_lsn, prepared, xid: id, gid },
            tag => unreachable!("no such tag: {tag}"),
        };
        (message, context)
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_and_every_prefix_is_an_error(material in material()) {
        let (message, context) = material.message();
        let bytes = encode::message(&message);
        prop_assert_eq!(Message::decode(&bytes, context), Ok(message.clone()));
        for end in 0..bytes.len() {
            let cut = Message::decode(&bytes[..end], context);
            prop_assert!(cut.is_err(), "{} cut at {} of {}: {:?}", message.name(), end, bytes.len(), cut);
        }
        let longer = [&bytes[..], &[0]].concat();
        let trailing = DecodeError::Trailing { message: message.name(), at: bytes.len(), left: 1 };
        prop_assert_eq!(Message::decode(&longer, context), Err(trailing));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), context: (bool, bool), tag in 0..TAGS.len()) {
        let context = Context { in_stream: context.0, parallel: context.1 };
        drop(Message::decode(&bytes, context));
        drop(Message::decode(&[&[TAGS[tag]], &bytes[..]].concat(), context));
        let _: Result<_, _> = Envelope::decode(&bytes);
    }
}

#[test]
fn errors_name_message_field_and_byte() {
    let truncated = |message, field, at, need, left| DecodeError::Truncated { message, field, at, need, left };
    let unexpected = |message, field, at, found| DecodeError::Unexpected { message, field, at, found };
    let cases: &[(&str, &[u8], DecodeError)] = &[
        ("nothing", b"", DecodeError::Empty),
        ("no such tag", b"Z", DecodeError::UnknownTag { tag: b'Z' }),
        ("no relation", b"I\0\0", truncated("Insert", "relation", 1, 4, 2)),
        ("an insert with an old row", b"I\0\0\0\x01K\0\0", unexpected("Insert", "kind of tuple", 5, b'K')),
        ("a delete with a new row", b"D\0\0\0\x01N\0\0", unexpected("Delete", "kind of tuple", 5, b'N')),
        ("an update with two old rows", b"U\0\0\0\x01K\0\0O\0\0", unexpected("Update", "kind of tuple", 8, b'O')),
        ("an unknown kind of value", b"I\0\0\0\x01N\0\x01x", unexpected("Insert", "kind of value", 8, b'x')),
        (
            "a negative length",
            b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xffab",
            truncated("Insert", "value", 13, 0xFFFF_FFFF, 2),
        ),
        ("a count too large", b"I\0\0\0\x01N\xff\xffn", truncated("Insert", "kind of value", 9, 1, 0)),
        ("two messages", b"EE", DecodeError::Trailing { message: "Stream Stop", at: 1, left: 1 }),
        ("an endless name", b"Y\0\0\0\x01abc", DecodeError::Endless { message: "Type", field: "namespace", at: 5 }),
        ("a name in Latin-1", b"Y\0\0\0\x01\0\xe9\0", DecodeError::NotUtf8 { message: "Type", field: "name", at: 6 }),
        ("a flag of the future", b"C\x01", unexpected("Commit", "flags", 1, 1)),
        ("a replica identity of the future", b"R\0\0\0\x01\0t\0z", unexpected("Relation", "replica identity", 8, b'z')),
        ("too many truncated tables", b"T\xff\xff\xff\xff\0", truncated("Truncate", "relations", 6, 17_179_869_180, 0)),
    ];
    for (name, bytes, want) in cases {
        assert_eq!(Message::decode(bytes, Context::default()), Err(*want), "{name}");
    }
    let text = "pgoutput Insert ends at byte 1: relation needs 4 bytes, 2 left";
    assert_eq!(truncated("Insert", "relation", 1, 4, 2).to_string(), text);
}

#[test]
fn a_binary_value_is_told() {
    let message = Message::decode(b"I\0\0\0\x01N\0\x02nb\0\0\0\x01x", Context::default());
    let Ok(Message::Insert { new, .. }) = message else { panic!("{message:?}") };
    assert!(new.has_binary());
    assert_eq!((new.columns(), new.bytes().len()), (2, 9));
}

#[test]
fn envelopes_are_read_and_their_prefixes_are_errors() {
    let data = encode::xlog_data(Lsn(7), b"abc");
    let want = Envelope::Data { start: Lsn(7), end: Lsn(7), sent: Timestamp(0), message: b"abc" };
    assert_eq!(Envelope::decode(&data[5..]), Ok(want));
    let keepalive = encode::keepalive(Lsn(9), true);
    let want = Envelope::Keepalive { wal_end: Lsn(9), sent: Timestamp(0), reply: true };
    assert_eq!(Envelope::decode(&keepalive[5..]), Ok(want));
    for (bytes, fixed) in [(&data[5..], 25), (&keepalive[5..], keepalive.len() - 5)] {
        for end in 0..fixed {
            assert!(Envelope::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
    assert_eq!(Envelope::decode(b"s"), Err(DecodeError::UnknownTag { tag: b's' }));
}

#[test]
fn times_are_translated_between_the_epochs() {
    for (postgres, unix) in [(0, 946_684_800_000_000), (-946_684_800_000_000, 0), (i64::MAX, i64::MAX)] {
        assert_eq!(Timestamp(postgres).unix_micros(), unix);
    }
    assert_eq!(Timestamp::from_unix_micros(0), Timestamp(-946_684_800_000_000));
}
