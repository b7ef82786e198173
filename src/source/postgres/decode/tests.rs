//! A stream of messages as a table, and the events it becomes.

use super::super::tables::Identity;
use super::*;
use crate::pgoutput::encode::{self, new_tuple};
use crate::pgoutput::{Timestamp, Truncated};

const NONE: Option<u32> = None;

fn column(name: &str, ty: ColumnType, nullable: bool) -> Column {
    Column { name: name.into(), ty, nullable }
}

/// `shop.orders`: a key of two columns in another order than the columns, a domain, and a nullable text.
fn orders() -> KnownTable {
    let wire = |oid, typmod| WireType { oid, typmod };
    let schema = TableSchema {
        id: TableId(7),
        name: TableName { schema: "shop".into(), name: "orders".into() },
        target: "shop_orders".into(),
        columns: vec![
            column("line", ColumnType::Int32, false),
            column("id", ColumnType::Int64, false),
            column("price", ColumnType::Numeric { digits: Some((10, 2)) }, true),
            column("note", ColumnType::Text, true),
        ],
        key: vec![1, 0],
        complete: true,
    };
    let types = vec![wire(23, -1), wire(20, -1), wire(50_000, -1), wire(25, -1)];
    KnownTable { schema: Arc::new(schema), types, identity: Identity::Default }
}

fn sent(key: bool, name: &str, type_oid: u32, typmod: i32) -> RelationColumn<'_> {
    RelationColumn { key, name, type_oid, typmod }
}

fn orders_columns() -> Vec<RelationColumn<'static>> {
    vec![
        sent(true, "line", 23, -1),
        sent(true, "id", 20, -1),
        sent(false, "price", 50_000, -1),
        sent(false, "note", 25, -1),
    ]
}

fn relation(oid: u32, identity: ReplicaIdentity, columns: Vec<RelationColumn<'_>>) -> Vec<u8> {
    let (namespace, name) = if oid == 7 { ("shop", "orders") } else { ("shop", "other") };
    encode::message(&Message::Relation { xid: NONE, oid, namespace, name, identity, columns })
}

fn orders_relation() -> Vec<u8> {
    relation(7, ReplicaIdentity::Default, orders_columns())
}

fn begin() -> Vec<u8> {
    encode::message(&Message::Begin { final_lsn: Lsn(100), committed: Timestamp::from_unix_micros(5), xid: 9 })
}

fn commit() -> Vec<u8> {
    encode::message(&Message::Commit { commit_lsn: Lsn(100), end_lsn: Lsn(110), committed: Timestamp(0) })
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.as_bytes())
}

fn row(values: &[Value<'_>]) -> Row {
    let mut built = RowBuilder::with_capacity(0);
    values.iter().for_each(|value| built.push(*value));
    built.finish()
}

fn full<'a>() -> [Value<'a>; 4] {
    [text("1"), text("20"), Value::Null, text("n")]
}

fn insert(oid: u32, values: &[Value<'_>]) -> Vec<u8> {
    encode::insert(oid, values)
}

fn update(old: Option<(char, &[Value<'_>])>, new: &[Value<'_>]) -> Vec<u8> {
    let bytes = [old.map(|(_, values)| insert(7, values)).unwrap_or_default(), insert(7, new)];
    let old = old.map(|(kind, _)| old_tuple(kind, &bytes[0]));
    encode::message(&Message::Update { xid: NONE, relation: 7, old, new: new_tuple(&bytes[1]) })
}

fn delete(kind: char, values: &[Value<'_>]) -> Vec<u8> {
    let bytes = insert(7, values);
    encode::message(&Message::Delete { xid: NONE, relation: 7, old: old_tuple(kind, &bytes) })
}

fn old_tuple(kind: char, insert: &[u8]) -> OldTuple<'_> {
    if kind == 'K' { OldTuple::Key(new_tuple(insert)) } else { OldTuple::Full(new_tuple(insert)) }
}

fn truncate(oids: &[u32]) -> Vec<u8> {
    let bytes: Vec<u8> = oids.iter().flat_map(|oid| oid.to_be_bytes()).collect();
    let relations = Truncated::over(&bytes);
    encode::message(&Message::Truncate { xid: NONE, cascade: true, restart_identity: false, relations })
}

/// Runs messages through one decoder; what it told, and the error that ended it.
fn run(messages: &[Vec<u8>]) -> (Vec<Event>, Option<EventError>) {
    let mut decoder = Decoder::new(Arc::new(Tables::from_iter([orders()])));
    let mut events = Vec::new();
    for message in messages {
        let frame = Bytes::from([b"before".as_slice(), message, b"behind"].concat());
        let part = &frame[6..frame.len() - 6];
        if let Err(error) = decoder.decode(&frame, part, &mut events) {
            return (events, Some(error));
        }
    }
    (events, None)
}

fn changes(events: &[Event]) -> Vec<Change> {
    let change = |event: &Event| match event {
        Event::Change { table: TableId(7), change } => Some(change.clone()),
        _ => None,
    };
    events.iter().filter_map(change).collect()
}

#[test]
fn a_transaction_is_told_with_its_schema_once() {
    let values = full();
    let other = relation(8, ReplicaIdentity::Nothing, vec![sent(false, "x", 25, -1)]);
    let messages = [
        begin(),
        orders_relation(),
        insert(7, &values),
        orders_relation(),
        other,
        insert(8, &[text("ignored")]),
        truncate(&[8, 7]),
        truncate(&[8]),
        commit(),
    ];
    let (events, error) = run(&messages);
    assert_eq!(error, None);
    let told: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
    let schema = format!("Schema({:?})", orders().schema);
    let want = [
        "Begin { commit_lsn: Lsn(100), commit_micros: 5, xid: 9 }",
        &schema,
        "Change { table: TableId(7), change: Insert { new: Row(4 columns, 22 bytes) } }",
        "Truncate { tables: [TableId(7)] }",
        "Commit { end_lsn: Lsn(110) }",
    ];
    assert_eq!(told, want);
    assert_eq!(changes(&events), [Change::Insert { new: row(&values) }]);
}

#[test]
fn old_rows_are_told_as_they_came_and_key_columns_hold_values() {
    let (new, unchanged) = (full(), Value::Unchanged);
    let key = [text("1"), text("20"), Value::Null, Value::Null];
    let [line, id] = [new[0], new[1]];
    let cases: [(&str, Vec<u8>, Change); 6] = [
        ("plain update", update(None, &new), Change::Update { old: None, new: row(&new) }),
        (
            "unchanged value",
            update(None, &[line, id, unchanged, unchanged]),
            Change::Update { old: None, new: row(&[line, id, unchanged, unchanged]) },
        ),
        (
            "key change",
            update(Some(('K', &key)), &new),
            Change::Update { old: Some(OldRow::Key(row(&key))), new: row(&new) },
        ),
        (
            "unchanged part of a changed key",
            update(Some(('K', &key)), &[text("2"), unchanged, unchanged, Value::Null]),
            Change::Update { old: Some(OldRow::Key(row(&key))), new: row(&[text("2"), id, unchanged, Value::Null]) },
        ),
        ("delete by key", delete('K', &key), Change::Delete { old: OldRow::Key(row(&key)) }),
        ("delete under FULL", delete('O', &new), Change::Delete { old: OldRow::Full(row(&new)) }),
    ];
    for (name, message, want) in cases {
        let (events, error) = run(&[begin(), orders_relation(), message]);
        assert_eq!((changes(&events), error), (vec![want], None), "{name}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let values = full();
    let table = orders().schema.name.clone();
    let no_key = [Value::Null, text("20"), Value::Null, Value::Null];
    let unchanged_key = [Value::Unchanged, text("20"), Value::Null, Value::Null];
    let binary = {
        let mut bytes = insert(7, &values);
        bytes[8] = b'b';
        bytes
    };
    let unasked = encode::message(&Message::StreamStart { xid: 1, first: true });
    let misplaced = |message, place| EventError::Misplaced { message, place };
    let nameless = |message| EventError::NoKey { message, table: table.clone() };
    let cases: Vec<(&str, Vec<Vec<u8>>, EventError, &str)> = vec![
        (
            "change outside",
            vec![orders_relation(), insert(7, &values)],
            misplaced("Insert", "outside of"),
            "STREAM_UNREADABLE",
        ),
        ("commit outside", vec![commit()], misplaced("Commit", "outside of"), "STREAM_UNREADABLE"),
        ("begin inside", vec![begin(), begin()], misplaced("Begin", "inside of"), "STREAM_UNREADABLE"),
        (
            "unknown relation",
            vec![begin(), insert(7, &values)],
            EventError::Undescribed { oid: 7 },
            "STREAM_UNREADABLE",
        ),
        (
            "too few columns",
            vec![begin(), orders_relation(), insert(7, &values[..3])],
            EventError::Columns { table: table.clone(), expected: 4, found: 3 },
            "STREAM_UNREADABLE",
        ),
        (
            "binary",
            vec![begin(), orders_relation(), binary],
            EventError::Binary { table: table.clone() },
            "STREAM_UNREADABLE",
        ),
        (
            "delete without key",
            vec![begin(), orders_relation(), delete('K', &no_key)],
            nameless("Delete"),
            "KEY_MISSING",
        ),
        (
            "update without key",
            vec![begin(), orders_relation(), update(None, &unchanged_key)],
            nameless("Update"),
            "KEY_MISSING",
        ),
        ("streamed", vec![unasked], EventError::Unasked { message: "Stream Start" }, "STREAM_UNREADABLE"),
        ("no message", vec![vec![b'Z']], DecodeError::UnknownTag { tag: b'Z' }.into(), "STREAM_UNREADABLE"),
        (
            "no key left",
            vec![relation(7, ReplicaIdentity::Nothing, vec![sent(false, "id", 20, -1)])],
            EventError::KeyGone { table: table.clone() },
            "KEY_CHANGED",
        ),
    ];
    for (name, messages, want, code) in cases {
        let (_, error) = run(&messages);
        assert_eq!(error.as_ref(), Some(&want), "{name}");
        assert_eq!(Reason::from(want).code, code, "{name}");
    }
}

/// Name, a message before, identity and columns of the new Relation; columns and key wanted.
type Changed = (&'static str, Vec<u8>, ReplicaIdentity, Vec<RelationColumn<'static>>, Vec<Column>, Vec<usize>);

#[test]
fn a_changed_table_is_told_anew() {
    let domain = |namespace, name| encode::message(&Message::Type { xid: NONE, oid: 50_001, namespace, name });
    let more = |extra| [orders_columns(), vec![extra]].concat();
    let known = || orders().schema.columns.clone();
    let with = |extra: Column| [known(), vec![extra]].concat();
    let cases: Vec<Changed> = vec![
        (
            "a new column may be NULL",
            vec![],
            ReplicaIdentity::Default,
            more(sent(false, "new", 1043, 84)),
            with(column("new", ColumnType::Varchar { chars: Some(80) }, true)),
            vec![1, 0],
        ),
        (
            "a new column of a domain over a built-in type",
            domain("", "int4"),
            ReplicaIdentity::Default,
            more(sent(false, "new", 50_001, -1)),
            with(column("new", ColumnType::Int32, true)),
            vec![1, 0],
        ),
        (
            "a new column of an enum",
            domain("shop", "mood"),
            ReplicaIdentity::Default,
            more(sent(false, "new", 50_001, -1)),
            with(column("new", ColumnType::Other("shop.mood".into()), true)),
            vec![1, 0],
        ),
        (
            "a new column of a type without a kind",
            vec![],
            ReplicaIdentity::Default,
            more(sent(false, "new", 2970, -1)),
            with(column("new", ColumnType::Other("oid 2970".into()), true)),
            vec![1, 0],
        ),
        (
            "a dropped key column",
            vec![],
            ReplicaIdentity::Index,
            orders_columns()[1..].to_vec(),
            known()[1..].to_vec(),
            vec![0],
        ),
        (
            "another key",
            vec![],
            ReplicaIdentity::Default,
            vec![sent(false, "line", 23, -1), sent(true, "id", 20, -1), sent(true, "note", 25, -1)],
            [known()[..2].to_vec(), known()[3..].to_vec()].concat(),
            vec![1, 2],
        ),
        (
            "under FULL the key is the chosen one",
            vec![],
            ReplicaIdentity::Full,
            orders_columns().into_iter().map(|column| RelationColumn { key: true, ..column }).rev().collect(),
            known().into_iter().rev().collect(),
            vec![2, 3],
        ),
        (
            "a changed type",
            vec![],
            ReplicaIdentity::Default,
            vec![sent(true, "line", 20, -1), sent(true, "id", 20, -1)],
            vec![column("line", ColumnType::Int64, false), column("id", ColumnType::Int64, false)],
            vec![1, 0],
        ),
    ];
    for (name, before, identity, sent, columns, key) in cases {
        let mut messages = vec![begin(), orders_relation()];
        messages.extend(Some(before).filter(|message| !message.is_empty()));
        messages.push(relation(7, identity, sent));
        let (events, error) = run(&messages);
        assert_eq!(error, None, "{name}");
        let Some(Event::Schema(schema)) = events.last() else { panic!("{name}: {events:?}") };
        let want = TableSchema { columns, key, ..TableSchema::clone(&orders().schema) };
        assert_eq!(**schema, want, "{name}");
    }
}

#[test]
fn idle_is_told_outside_of_transactions_and_forwards_only() {
    let mut decoder = Decoder::new(Arc::default());
    let mut events = Vec::new();
    let keepalive = |decoder: &mut Decoder, lsn| {
        let mut told = Vec::new();
        decoder.keepalive(Lsn(lsn), &mut told);
        matches!(told[..], [Event::Idle { .. }])
    };
    assert!(keepalive(&mut decoder, 50));
    assert!(!keepalive(&mut decoder, 50), "told already");
    decoder.decode(&Bytes::new(), &begin(), &mut events).unwrap();
    assert!(!keepalive(&mut decoder, 105), "inside of a transaction");
    decoder.decode(&Bytes::new(), &commit(), &mut events).unwrap();
    assert!(!keepalive(&mut decoder, 109), "before the end of the last commit");
    assert!(keepalive(&mut decoder, 111));
}
