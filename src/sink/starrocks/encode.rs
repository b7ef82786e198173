//! The body of a load: rows straight from the source's bytes to a JSON array, made as the connection takes it.
//!
//! In: a plan and the rows. Out: bytes on demand; what is held is one chunk and one row. Always: the array is closed
//! only after its last row, so that a body cut short never parses and loads nothing; a value that the target cannot
//! hold ends the body with an error or, by policy, becomes NULL and is counted. Not here: which columns fit which
//! (`types`), one value (`value`). Start at [`Body::read`].

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::escape;
use super::options::BadValue;
use super::plan::{Plan, PlanColumn};
use super::types::KEY_BYTES_MAX;
use super::value::{Unfit, Writer};
use crate::model::{Load, LoadRow, Op, Present, Row, Value};

/// How much is encoded ahead of the connection, in bytes.
const CHUNK: usize = 256 << 10;

/// Why a row cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodeError {
    #[error("the value of column {column} in the row with key hash {key_hash} {unfit}")]
    Value { column: String, key_hash: String, unfit: Unfit },
    #[error("the key of the row with key hash {key_hash} takes {bytes} bytes where {KEY_BYTES_MAX} fit")]
    KeyTooLong { key_hash: String, bytes: usize },
    #[error("column {column} is unchanged in a row that must bring it")]
    Unchanged { column: String },
    #[error("a row has {found} columns where the table has {want}")]
    Columns { found: usize, want: usize },
    #[error("a delete came among rows although this table's deletes travel alone")]
    DeleteAmongRows,
    #[error("a row that is no delete came in a load of deletes")]
    RowAmongDeletes,
}

/// What a row ends with, per operation.
#[derive(Debug)]
struct Tail {
    /// Up to the row's version, if there are audit columns.
    before_version: Option<Vec<u8>>,
    end: &'static [u8],
}

/// What was written for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Itself,
    /// NULL, because the target cannot hold it.
    Replaced,
}

/// Writes rows one by one.
#[derive(Debug)]
struct Encoder {
    plan: Arc<Plan>,
    /// Per source column: whether rows bring it.
    included: Vec<bool>,
    /// Whether deletes may come among rows.
    mixed: bool,
    only_deletes: bool,
    tails: [Tail; 3],
}

impl Encoder {
    fn new(plan: Arc<Plan>, load: &Load, synced_at: &str) -> Self {
        let only_deletes = load.present == Present::KeyOnly;
        let with_op = plan.hard_deletes && load.rows.iter().any(|row| row.op == Op::Delete);
        let tail = |op: Op| Tail::new(&plan, op, with_op, synced_at);
        Encoder {
            included: plan.included(&load.present),
            mixed: plan.hard_deletes && plan.key_alone_fits && load.present == Present::All,
            only_deletes,
            tails: [tail(Op::Insert), tail(Op::Update), tail(Op::Delete)],
            plan,
        }
    }

    /// Appends one row as a JSON object; counts the values replaced by NULL.
    fn row(&self, row: &LoadRow, out: &mut Vec<u8>, replaced: &mut u64) -> Result<(), EncodeError> {
        let start = out.len();
        let delete = row.op == Op::Delete;
        match (delete, self.only_deletes, self.mixed) {
            (true, false, false) => return Err(EncodeError::DeleteAmongRows),
            (false, true, _) => return Err(EncodeError::RowAmongDeletes),
            _ => {}
        }
        let (mut found, mut key_bytes) = (0, 0);
        let columns = &self.plan.columns;
        for ((column, included), value) in columns.iter().zip(&self.included).zip(row.row.columns()) {
            found += 1;
            if !(column.key || *included && !delete) {
                continue;
            }
            out.extend_from_slice(&column.prefix);
            let written = self.value(column, value, out);
            *replaced += u64::from(written == Ok(Written::Replaced));
            written.map_err(|unfit| self.bad_value(column, &row.row, unfit))?;
            if column.key {
                key_bytes += encoded_key_bytes(column.writer, value);
            }
        }
        if found != columns.len() || row.row.len() != found {
            return Err(EncodeError::Columns { found: row.row.len(), want: columns.len() });
        }
        self.check_key(key_bytes, &row.row)?;
        // Each prefix starts with a comma; the first one's place is the brace's.
        out[start] = b'{';
        let tail = &self.tails[row.op as usize];
        if let Some(before_version) = &tail.before_version {
            out.extend_from_slice(before_version);
            out.extend_from_slice(itoa::Buffer::new().format(row.commit_lsn.0).as_bytes());
        }
        out.extend_from_slice(tail.end);
        Ok(())
    }

    #[inline]
    fn value(&self, column: &PlanColumn, value: Value<'_>, out: &mut Vec<u8>) -> Result<Written, Option<Unfit>> {
        let start = out.len();
        let unfit = match value {
            Value::Text(text) => match column.writer.write(text, out) {
                Ok(()) => return Ok(Written::Itself),
                Err(unfit) => unfit,
            },
            Value::Null if column.nullable && !column.key => {
                out.extend_from_slice(b"null");
                return Ok(Written::Itself);
            }
            Value::Null => return Err(Some(Unfit::Null)),
            Value::Unchanged => return Err(None),
        };
        if self.plan.on_bad_value == BadValue::Null && column.nullable && !column.key {
            out.truncate(start);
            out.extend_from_slice(b"null");
            return Ok(Written::Replaced);
        }
        Err(Some(unfit))
    }

    fn bad_value(&self, column: &PlanColumn, row: &Row, unfit: Option<Unfit>) -> EncodeError {
        let column = column.name.clone();
        match unfit {
            Some(unfit) => EncodeError::Value { column, key_hash: key_hash(&self.plan, row), unfit },
            None => EncodeError::Unchanged { column },
        }
    }

    /// The terminator of the last text column is not written, but only the last key column can save it.
    fn check_key(&self, bytes: usize, row: &Row) -> Result<(), EncodeError> {
        let last = self.plan.key.last().and_then(|at| self.plan.columns.get(*at));
        let saved = last.map_or(0, |column| if matches!(column.writer, Writer::Text(_)) { TERMINATOR } else { 0 });
        let bytes = bytes.saturating_sub(saved);
        match bytes > KEY_BYTES_MAX as usize {
            true => Err(EncodeError::KeyTooLong { key_hash: key_hash(&self.plan, row), bytes }),
            false => Ok(()),
        }
    }
}

/// Bytes that end a text column within an encoded key.
const TERMINATOR: usize = 2;

fn encoded_key_bytes(writer: Writer, value: Value<'_>) -> usize {
    match (writer, value) {
        (Writer::Text(_), Value::Text(text)) => text.len() + TERMINATOR,
        (writer, _) => writer.key_bytes(),
    }
}

/// Names a row without telling its key: the first 8 bytes of SHA-256 over the key's values, in hexadecimal.
fn key_hash(plan: &Plan, row: &Row) -> String {
    let mut hash = Sha256::new();
    for at in &plan.key {
        let value = match row.column(*at) {
            Value::Text(text) => text,
            Value::Null | Value::Unchanged => b"",
        };
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    hash.finalize()[..8].iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Tail {
    fn new(plan: &Plan, op: Op, with_op: bool, synced_at: &str) -> Self {
        let end: &[u8] = match (with_op, op) {
            (false, _) => b"}",
            (true, Op::Delete) => b",\"__op\":1}",
            (true, Op::Insert | Op::Update) => b",\"__op\":0}",
        };
        // A row that goes needs no marks.
        let audit = plan.audit.as_ref().filter(|_| !(plan.hard_deletes && op == Op::Delete));
        let before_version = audit.map(|audit| {
            let mut bytes = Vec::new();
            let number: &[u8] = match op {
                Op::Insert => b"0",
                Op::Update => b"1",
                Op::Delete => b"2",
            };
            let deleted: &[u8] = if op == Op::Delete { b"true" } else { b"false" };
            let mut moment = Vec::new();
            escape::string(synced_at.as_bytes(), &mut moment);
            for (name, value) in audit.names().into_iter().zip([number, deleted, &moment, b""]) {
                bytes.push(b',');
                escape::string(name.as_bytes(), &mut bytes);
                bytes.push(b':');
                bytes.extend_from_slice(value);
            }
            bytes
        });
        Tail { before_version, end }
    }
}

/// The body of one load, read piece by piece. Can be read again from its start.
#[derive(Debug)]
pub(super) struct Body {
    encoder: Encoder,
    rows: Arc<[LoadRow]>,
    /// The next row to encode.
    next: usize,
    chunk: Vec<u8>,
    /// How much of `chunk` has been read.
    read: usize,
    closed: bool,
    bytes: u64,
    replaced: u64,
}

impl Body {
    /// `synced_at` goes into the audit columns, as StarRocks reads a DATETIME.
    pub(super) fn new(plan: Arc<Plan>, load: &Load, synced_at: &str) -> Self {
        let encoder = Encoder::new(plan, load, synced_at);
        Body {
            encoder,
            rows: load.rows.clone(),
            next: 0,
            chunk: Vec::new(),
            read: 0,
            closed: false,
            bytes: 0,
            replaced: 0,
        }
    }

    /// Starts again.
    pub(super) fn rewind(&mut self) {
        self.chunk.clear();
        (self.next, self.read, self.closed, self.bytes, self.replaced) = (0, 0, false, 0, 0);
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Values replaced by NULL so far.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Whether everything has been read.
    pub(super) fn is_done(&self) -> bool {
        self.closed && self.read == self.chunk.len()
    }

    /// Encodes the next chunk if the last one is used up. Calling it before a connection is made finds bad values of
    /// a small load while nothing has been sent.
    ///
    /// # Errors
    /// The first row that cannot be sent.
    pub(super) fn fill(&mut self) -> Result<(), EncodeError> {
        if self.read < self.chunk.len() || self.closed {
            return Ok(());
        }
        self.chunk.clear();
        self.read = 0;
        while self.chunk.len() < CHUNK {
            let Some(row) = self.rows.get(self.next) else {
                self.chunk.extend_from_slice(if self.next == 0 { b"[]" } else { b"]" });
                self.closed = true;
                break;
            };
            self.chunk.push(if self.next == 0 { b'[' } else { b',' });
            self.encoder.row(row, &mut self.chunk, &mut self.replaced)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Writes the next bytes to `out`; how many. 0 only at the end (or if `out` is empty).
    ///
    /// # Errors
    /// As [`Body::fill`].
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.fill()?;
        let ready = &self.chunk[self.read..];
        let length = ready.len().min(out.len());
        out[..length].copy_from_slice(&ready[..length]);
        self.read += length;
        self.bytes += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnSet, ColumnType, Lsn, Present, RowBuilder, TableId, TableName, TableSchema};
    use crate::sink::starrocks::options::TypeRules;
    use crate::sink::starrocks::plan::Audit;
    use crate::sink::starrocks::types::{Target, created};
    use proptest::prelude::*;
    use sonic_rs::{JsonContainerTrait, JsonValueTrait};

    const SYNCED: &str = "2025-11-20 20:52:24.000001";

    fn schema(columns: &[(&str, ColumnType)], key: &[usize]) -> Arc<TableSchema> {
        let columns = columns
            .iter()
            .map(|(name, ty)| Column { name: (*name).to_owned(), ty: ty.clone(), nullable: true })
            .collect();
        let name = TableName { schema: "public".into(), name: "t".into() };
        Arc::new(TableSchema { id: TableId(1), name, target: "t".into(), columns, key: key.to_vec(), complete: true })
    }

    fn plan(schema: &TableSchema, audit: bool, hard_deletes: bool) -> Plan {
        let column = |(at, column): (usize, &Column)| {
            let key = schema.is_key(at);
            let writer = Writer::new(&column.ty, key, &created(&column.ty, key, &TypeRules::default())).unwrap();
            PlanColumn::new(&column.name, writer, !key, key)
        };
        let name = |name: &str| format!("sluice_{name}");
        Plan {
            columns: schema.columns.iter().enumerate().map(column).collect(),
            key: schema.key.clone(),
            audit: audit.then(|| Audit {
                op_type: name("op_type"),
                is_deleted: name("is_deleted"),
                synced_at: name("synced_at"),
                cdc_version: name("cdc_version"),
            }),
            hard_deletes,
            key_alone_fits: true,
            on_bad_value: BadValue::Block,
        }
    }

    fn row(op: Op, values: &[Option<&str>], lsn: u64) -> LoadRow {
        let mut built = RowBuilder::with_capacity(64);
        values.iter().for_each(|value| {
            built.push(match value {
                Some("\u{1}unchanged") => Value::Unchanged,
                Some(text) => Value::Text(text.as_bytes()),
                None => Value::Null,
            });
        });
        LoadRow { op, row: built.finish(), commit_lsn: Lsn(lsn) }
    }

    fn all(body: &mut Body, step: usize) -> Result<String, EncodeError> {
        let (mut bytes, mut piece) = (Vec::new(), vec![0; step]);
        loop {
            match body.read(&mut piece)? {
                0 => break,
                length => bytes.extend_from_slice(&piece[..length]),
            }
        }
        assert!(body.is_done() && body.bytes() == bytes.len() as u64);
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn encoded(
        plan: Plan,
        schema: &Arc<TableSchema>,
        present: Present,
        rows: Vec<LoadRow>,
    ) -> Result<String, EncodeError> {
        let load = Load { schema: schema.clone(), present, rows: rows.into() };
        let mut body = Body::new(Arc::new(plan), &load, SYNCED);
        let first = all(&mut body, 7)?;
        body.rewind();
        assert_eq!(all(&mut body, 1 << 20)?, first, "a second reading gives the same body");
        Ok(first)
    }

    #[test]
    fn bodies_of_each_kind() {
        let schema = schema(&[("id", ColumnType::Int32), ("no\"te", ColumnType::Text)], &[0]);
        let audit = r#""sluice_is_deleted":false,"sluice_synced_at":"2025-11-20 20:52:24.000001","sluice_cdc_version""#;
        let gone = audit.replace("false", "true");
        let insert = || row(Op::Insert, &[Some("1"), Some("a\nb")], 5);
        let update = || row(Op::Update, &[Some("2"), None], 6);
        let delete = || row(Op::Delete, &[Some("3"), None], 7);
        let cases = [
            (
                "plain rows",
                false,
                true,
                Present::All,
                vec![insert(), update()],
                r#"[{"id":1,"no\"te":"a\nb"},{"id":2,"no\"te":null}]"#.to_owned(),
            ),
            (
                "deletes among rows",
                false,
                true,
                Present::All,
                vec![insert(), delete()],
                r#"[{"id":1,"no\"te":"a\nb","__op":0},{"id":3,"__op":1}]"#.to_owned(),
            ),
            ("hard deletes alone", true, true, Present::KeyOnly, vec![delete()], r#"[{"id":3,"__op":1}]"#.to_owned()),
            (
                "soft deletes alone",
                true,
                false,
                Present::KeyOnly,
                vec![delete()],
                format!(r#"[{{"id":3,"sluice_op_type":2,{gone}:7}}]"#),
            ),
            (
                "audit columns",
                true,
                false,
                Present::All,
                vec![insert(), update()],
                format!(
                    r#"[{{"id":1,"no\"te":"a\nb","sluice_op_type":0,{audit}:5}},{{"id":2,"no\"te":null,"sluice_op_type":1,{audit}:6}}]"#
                ),
            ),
            (
                "some columns",
                false,
                false,
                Present::Only(ColumnSet::from_iter([0])),
                vec![row(Op::Update, &[Some("2"), Some("\u{1}unchanged")], 6)],
                r#"[{"id":2}]"#.to_owned(),
            ),
        ];
        for (name, audit, hard, present, rows, want) in cases {
            assert_eq!(encoded(plan(&schema, audit, hard), &schema, present, rows).unwrap(), want, "{name}");
        }
    }

    #[test]
    fn headers_of_each_kind() {
        let schema = schema(&[("id", ColumnType::Int32), ("a", ColumnType::Text), ("b`c", ColumnType::Text)], &[0]);
        let audit = "`sluice_op_type`,`sluice_is_deleted`,`sluice_synced_at`,`sluice_cdc_version`";
        let only = || Present::Only(ColumnSet::from_iter([0, 2]));
        let cases = [
            (Present::All, true, false, true, None),
            (Present::All, true, true, false, None),
            (Present::KeyOnly, true, true, true, None),
            (Present::KeyOnly, true, true, false, Some("`id`,`__op`".to_owned())),
            (Present::KeyOnly, true, false, true, Some(format!("`id`,{audit}"))),
            (only(), true, false, true, Some(format!("`id`,`b``c`,{audit}"))),
            (only(), false, true, true, Some("`id`,`b``c`".to_owned())),
        ];
        for (present, with_audit, hard, key_alone_fits, want) in cases {
            let plan = Plan { key_alone_fits, ..plan(&schema, with_audit, hard) };
            let headers = plan.headers(&present);
            assert_eq!((headers.partial, &headers.columns), (want.is_some(), &want), "{present:?} hard: {hard}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_an_error_that_names_the_row_but_not_its_key() {
        let schema = schema(&[("k", ColumnType::Text), ("n", ColumnType::Int16), ("k2", ColumnType::Int64)], &[0, 2]);
        let fits = "x".repeat(128 - 8 - 2);
        let too_long = "x".repeat(128 - 8 - 2 + 1);
        let cases: [(&str, Present, LoadRow, Result<(), &str>); 8] = [
            ("key of 128 bytes", Present::All, row(Op::Insert, &[Some(&fits), None, Some("1")], 1), Ok(())),
            (
                "key of 129 bytes",
                Present::All,
                row(Op::Insert, &[Some(&too_long), None, Some("1")], 1),
                Err("takes 129 bytes where 128 fit"),
            ),
            (
                "number too large",
                Present::All,
                row(Op::Insert, &[Some("secret"), Some("32768"), Some("1")], 1),
                Err("column n in the row with key hash"),
            ),
            ("NULL key", Present::All, row(Op::Insert, &[None, None, Some("1")], 1), Err("is NULL where")),
            (
                "unchanged",
                Present::All,
                row(Op::Update, &[Some("secret"), Some("\u{1}unchanged"), Some("1")], 1),
                Err("column n is unchanged"),
            ),
            ("short row", Present::All, row(Op::Insert, &[Some("secret")], 1), Err("1 columns where the table has 3")),
            (
                "long row",
                Present::All,
                row(Op::Insert, &[Some("secret"), None, Some("1"), None], 1),
                Err("4 columns where the table has 3"),
            ),
            (
                "row among deletes",
                Present::KeyOnly,
                row(Op::Insert, &[Some("secret"), None, Some("1")], 1),
                Err("no delete came in a load of deletes"),
            ),
        ];
        for (name, present, row, want) in cases {
            let got = encoded(plan(&schema, false, true), &schema, present, vec![row]).map_err(|e| e.to_string());
            match want {
                Ok(()) => assert!(got.is_ok(), "{name}: {got:?}"),
                Err(want) => {
                    let message = got.unwrap_err();
                    assert!(message.contains(want) && !message.contains("secret"), "{name}: {message}");
                }
            }
        }
        let delete = row(Op::Delete, &[Some("secret"), None, Some("1")], 1);
        let soft = encoded(plan(&schema, true, false), &schema, Present::All, vec![delete]);
        assert_eq!(soft, Err(EncodeError::DeleteAmongRows));
        let key = row(Op::Insert, &[Some("a"), None, Some("1")], 1);
        assert_eq!(key_hash(&plan(&schema, false, true), &key.row), "0e9c3156ac694b08", "the same in every release");
    }

    #[test]
    fn bad_values_become_null_only_by_policy_and_only_where_allowed() {
        let schema = schema(&[("id", ColumnType::Int32), ("d", ColumnType::Date), ("e", ColumnType::Date)], &[0]);
        let mut by_policy = plan(&schema, false, true);
        by_policy.on_bad_value = BadValue::Null;
        let rows = || vec![row(Op::Insert, &[Some("1"), Some("infinity"), Some("2024-01-02")], 1)];
        let load = Load { schema: schema.clone(), present: Present::All, rows: rows().into() };
        let mut body = Body::new(Arc::new(by_policy.clone()), &load, SYNCED);
        assert_eq!(all(&mut body, 100).unwrap(), r#"[{"id":1,"d":null,"e":"2024-01-02"}]"#);
        assert_eq!(body.replaced(), 1);
        by_policy.columns[1].nullable = false;
        let got = encoded(by_policy.clone(), &schema, Present::All, rows());
        assert!(matches!(got, Err(EncodeError::Value { .. })), "a NOT NULL column blocks");
        let bad_key = vec![row(Op::Insert, &[Some("99999999999"), None, None], 1)];
        let got = encoded(by_policy, &schema, Present::All, bad_key);
        assert!(matches!(got, Err(EncodeError::Value { .. })), "a key blocks");
    }

    /// A value of a type and what StarRocks would read from its JSON.
    fn any_value() -> impl Strategy<Value = (ColumnType, String)> {
        prop_oneof![
            any::<bool>().prop_map(|b| (ColumnType::Bool, if b { "t" } else { "f" }.to_owned())),
            any::<i16>().prop_map(|n| (ColumnType::Int16, n.to_string())),
            any::<i32>().prop_map(|n| (ColumnType::Int32, n.to_string())),
            any::<i64>().prop_map(|n| (ColumnType::Int64, n.to_string())),
            any::<f32>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| (ColumnType::Float32, format!("{n:?}"))),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| (ColumnType::Float64, format!("{n:?}"))),
            (any::<i64>(), 0_u32..100).prop_map(|(whole, cents)| {
                (ColumnType::Numeric { digits: Some((21, 2)) }, format!("{whole}.{cents:02}"))
            }),
            any::<String>().prop_map(|text| (ColumnType::Text, text)),
            "\\PC{0,300}".prop_map(|text| (ColumnType::Text, text)),
            "[ -~\\n]{0,40}".prop_map(|text| (ColumnType::Other("inet".into()), text)),
            (1_u32..10_000, 1_u32..13, 1_u32..29)
                .prop_map(|(y, m, d)| (ColumnType::Date, format!("{y:04}-{m:02}-{d:02}"))),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
                let hex = bytes.iter().fold(String::from("\\x"), |text, byte| text + &format!("{byte:02x}"));
                (ColumnType::Bytea, hex)
            }),
        ]
    }

    fn same(ty: &ColumnType, text: &str, read: &sonic_rs::Value) -> bool {
        match created(ty, false, &TypeRules::default()) {
            Target::Boolean => read.as_bool() == Some(text == "t"),
            Target::Int(_) => read.as_i64() == text.parse().ok(),
            Target::Float => read.as_f64().map(|n| n as f32) == text.parse().ok(),
            Target::Double => read.as_f64() == text.parse().ok(),
            _ => read.as_str() == Some(text),
        }
    }

    proptest! {
        #[test]
        fn a_body_read_as_json_gives_the_values_back(
            values in proptest::collection::vec((any_value(), "[^\0]{1,20}", any::<bool>()), 1..20),
            rows in 1_usize..40,
            step in 1_usize..5000,
        ) {
            let id = ("id".to_owned(), ColumnType::Int32);
            let named = values.iter().enumerate().map(|(at, ((ty, _), name, _))| (format!("{name}{at}"), ty.clone()));
            let columns: Vec<(String, ColumnType)> = std::iter::once(id).chain(named).collect();
            let borrowed: Vec<(&str, ColumnType)> = columns.iter().map(|(n, ty)| (n.as_str(), ty.clone())).collect();
            let schema = schema(&borrowed, &[0]);
            let numbers: Vec<String> = (0..rows).map(|n| n.to_string()).collect();
            let made: Vec<LoadRow> = numbers.iter().map(|n| {
                let texts = values.iter().map(|((_, text), _, null)| (!null).then_some(text.as_str()));
                row(Op::Insert, &std::iter::once(Some(n.as_str())).chain(texts).collect::<Vec<_>>(), 9)
            }).collect();
            let load = Load { schema: schema.clone(), present: Present::All, rows: made.into() };
            let mut body = Body::new(Arc::new(plan(&schema, true, false)), &load, SYNCED);
            let read: sonic_rs::Value = sonic_rs::from_str(&all(&mut body, step).unwrap()).unwrap();
            let read = read.as_array().unwrap();
            prop_assert_eq!(read.len(), rows);
            for (number, read) in read.iter().enumerate() {
                prop_assert_eq!(read["id"].as_u64(), Some(number as u64));
                prop_assert_eq!(read["sluice_cdc_version"].as_u64(), Some(9));
                prop_assert_eq!(read["sluice_synced_at"].as_str(), Some(SYNCED));
                for (((ty, text), _, null), (name, _)) in values.iter().zip(&columns[1..]) {
                    let read = read.get(name.as_str()).unwrap();
                    prop_assert!(if *null { read.is_null() } else { same(ty, text, read) }, "{:?} {:?}", ty, text);
                }
            }
        }

        #[test]
        fn no_bytes_make_the_encoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let schema = schema(&[("id", ColumnType::Int32), ("t", ColumnType::Text), ("j", ColumnType::Json)], &[0]);
            let broken = LoadRow { op: Op::Insert, row: Row::from_checked(bytes.into()), commit_lsn: Lsn(1) };
            let load = Load { schema: schema.clone(), present: Present::All, rows: vec![broken].into() };
            let mut body = Body::new(Arc::new(plan(&schema, true, false)), &load, SYNCED);
            let _ = body.fill();
        }
    }
}
