//! The body of a load: rows straight from the source's bytes to a JSON array, made as the connection takes it.
//!
//! In: a plan and the rows. Out: bytes on demand, compressed if asked for; what is held is one chunk and one row. Always: the array is closed
//! only after its last row, so that a body cut short never parses and loads nothing; a value that the target cannot
//! hold ends the body with an error or, by policy, becomes another one and is counted. Not here: which columns fit which
//! (`types`), one value (`value`), which policy (`policy`). Start at [`Body::read`].

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compress::{Compression, Packer};
use super::escape;
use super::instead::instead;
use super::plan::{Plan, PlanColumn};
use super::policy::{Changed, Policy};
use super::types::{KEY_BYTES_MAX, Target};
use super::value::{Unfit, Writer};
use super::wider::wider;
use crate::model::{Load, LoadRow, Op, Present, Row, Value};

/// How much is encoded ahead of the connection, in bytes.
const CHUNK: usize = 64 << 10;

/// Why a row cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EncodeError {
    #[error("{0}")]
    Value(Box<BadValue>),
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
    #[error("the body cannot be compressed: {0}")]
    Compress(String),
}

/// A value that its column cannot hold and blocks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of column {column} in the row with key hash {key_hash} {unfit}")]
pub(super) struct BadValue {
    pub(super) column: String,
    pub(super) key: bool,
    pub(super) nullable: bool,
    /// The policies that would load something.
    pub(super) ways: Vec<Policy>,
    pub(super) key_hash: String,
    pub(super) unfit: Unfit,
    /// A type that the column can be changed to and that holds the value.
    pub(super) wider: Option<Target>,
}

/// What a row ends with, per operation.
#[derive(Debug)]
struct Tail {
    /// Up to the row's version, if there are audit columns.
    before_version: Option<Vec<u8>>,
    end: &'static [u8],
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

    /// Appends one row as a JSON object; counts the values that are not the source's.
    fn row(&self, row: &LoadRow, out: &mut Vec<u8>, changed: &mut Changed) -> Result<(), EncodeError> {
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
            let at = found;
            found += 1;
            if !(column.key || *included && !delete) {
                continue;
            }
            column.prefix.write(out);
            match value {
                Value::Text(text) => {
                    let start = out.len();
                    if let Err(unfit) = column.writer.write(text, out) {
                        out.truncate(start);
                        instead(column, text, unfit, |class| changed.count(class, at))
                            .and_then(|loaded| loaded.write(column, out))
                            .map_err(|unfit| self.bad_value(column, text, &row.row, unfit))?;
                    }
                }
                Value::Null if column.nullable && !column.key => out.extend_from_slice(b"null"),
                Value::Null => return Err(self.bad_value(column, b"", &row.row, Unfit::Null)),
                Value::Unchanged => return Err(EncodeError::Unchanged { column: column.name.clone() }),
            }
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

    #[cold]
    fn bad_value(&self, column: &PlanColumn, text: &[u8], row: &Row, unfit: Unfit) -> EncodeError {
        EncodeError::Value(Box::new(BadValue {
            column: column.name.clone(),
            key: column.key,
            nullable: column.nullable,
            ways: unfit.class().map(|class| column.abilities().ways(class)).unwrap_or_default(),
            key_hash: key_hash(&self.plan, row),
            unfit,
            wider: wider(column.writer, column.key, unfit, text),
        }))
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
    rows: Arc<Vec<LoadRow>>,
    compression: Compression,
    /// `None` until the first row is encoded, and without compression.
    packer: Option<Packer>,
    /// The next row to encode.
    next: usize,
    chunk: Vec<u8>,
    /// How much of `chunk` has been read.
    read: usize,
    closed: bool,
    bytes: u64,
    changed: Changed,
}

impl Body {
    /// `synced_at` goes into the audit columns, as StarRocks reads a DATETIME.
    pub(super) fn new(plan: Arc<Plan>, load: &Load, synced_at: &str) -> Self {
        let encoder = Encoder::new(plan, load, synced_at);
        Body {
            encoder,
            rows: load.rows.clone(),
            compression: Compression::None,
            packer: None,
            next: 0,
            chunk: Vec::new(),
            read: 0,
            closed: false,
            bytes: 0,
            changed: Changed::default(),
        }
    }

    /// The same, compressed.
    pub(super) fn compressed(self, compression: Compression) -> Self {
        Body { compression, ..self }
    }

    /// Starts again.
    pub(super) fn rewind(&mut self) {
        self.chunk.clear();
        self.packer = None;
        (self.next, self.read, self.closed, self.bytes, self.changed) = (0, 0, false, 0, Changed::default());
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The values of the whole body that are not the source's own. What has not been read yet is encoded for it, as
    /// the server may have the body from an earlier try.
    pub(super) fn changed_in_all(&mut self) -> Changed {
        while !self.closed && self.encoder.plan.may_change_values() {
            self.read = self.chunk.len();
            if self.fill().is_err() {
                break;
            }
        }
        self.changed
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
        // The memory of a large row is not kept for those after it.
        self.chunk.shrink_to(2 * CHUNK);
        if self.next == 0 {
            self.packer = Packer::new(self.compression).map_err(uncompressed)?;
        }
        // A compressor may keep what it got until there is more.
        while self.chunk.is_empty() && !self.closed {
            self.encode()?;
            if let Some(packer) = &mut self.packer {
                packer.pack(&mut self.chunk, self.closed).map_err(uncompressed)?;
            }
        }
        Ok(())
    }

    /// Encodes a chunk of rows, or the last ones and the end.
    fn encode(&mut self) -> Result<(), EncodeError> {
        while self.chunk.len() < CHUNK {
            let Some(row) = self.rows.get(self.next) else {
                self.chunk.extend_from_slice(if self.next == 0 { b"[]" } else { b"]" });
                self.closed = true;
                break;
            };
            self.chunk.push(if self.next == 0 { b'[' } else { b',' });
            self.encoder.row(row, &mut self.chunk, &mut self.changed)?;
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

fn uncompressed(error: std::io::Error) -> EncodeError {
    EncodeError::Compress(error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Column, ColumnSet, ColumnType, Lsn, Present, RowBuilder, TableId, TableName, TableSchema};
    use crate::sink::starrocks::options::TypeRules;
    use crate::sink::starrocks::plan::Audit;
    use crate::sink::starrocks::policy::{BadClass, CLASSES, Policies};
    use crate::sink::starrocks::types::{Target, created};
    use proptest::prelude::*;
    use sonic_rs::{JsonContainerTrait, JsonValueTrait};
    use std::collections::BTreeSet;

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
        Ok(String::from_utf8(bytes(body, step)?).unwrap())
    }

    fn bytes(body: &mut Body, step: usize) -> Result<Vec<u8>, EncodeError> {
        let (mut bytes, mut piece) = (Vec::new(), vec![0; step]);
        loop {
            match body.read(&mut piece)? {
                0 => break,
                length => bytes.extend_from_slice(&piece[..length]),
            }
        }
        assert!(body.is_done() && body.bytes() == bytes.len() as u64);
        Ok(bytes)
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
    fn a_compressed_body_is_the_plain_one_in_one_frame() {
        let schema = schema(&[("id", ColumnType::Int32), ("note", ColumnType::Text)], &[0]);
        let plan = Arc::new(plan(&schema, true, false));
        for count in [1, 40_000] {
            let text = |n: usize| format!("{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let rows = (0..count).map(|n| row(Op::Insert, &[Some(&n.to_string()), Some(&text(n))], n as u64));
            let load = Load { schema: schema.clone(), present: Present::All, rows: Arc::new(rows.collect()) };
            let plain = all(&mut Body::new(plan.clone(), &load, SYNCED), 1 << 20).unwrap();
            for compression in [Compression::Lz4, Compression::Zstd] {
                let mut body = Body::new(plan.clone(), &load, SYNCED).compressed(compression);
                let first = bytes(&mut body, 7).unwrap();
                let mut rest = first.as_slice();
                let found = match compression {
                    Compression::Lz4 => std::io::read_to_string(lz4_flex::frame::FrameDecoder::new(&mut rest)),
                    _ => std::io::read_to_string(
                        zstd::stream::read::Decoder::with_buffer(&mut rest).unwrap().single_frame(),
                    ),
                };
                assert!(found.unwrap() == plain && rest.is_empty(), "{compression:?} of {count} rows");
                assert!(count == 1 || first.len() * 2 < plain.len(), "{compression:?} makes it smaller");
                body.rewind();
                let mut some = [0; 100];
                assert!(body.read(&mut some).unwrap() > 0);
                body.rewind();
                assert_eq!(bytes(&mut body, 1 << 20).unwrap(), first, "a second reading gives the same body");
            }
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

    /// A body of one row with one value column, by these policies; what was counted.
    pub(in crate::sink::starrocks) fn with_policies(
        ty: &ColumnType,
        target: &Target,
        nullable: bool,
        policies: Policies,
        value: &[u8],
    ) -> Result<(String, Vec<(&'static str, u64)>), EncodeError> {
        let schema = schema(&[("id", ColumnType::Int32), ("v", ty.clone())], &[0]);
        let mut plan = plan(&schema, false, true);
        let writer = Writer::new(ty, false, target).unwrap();
        plan.columns[1] = PlanColumn::new("v", writer, nullable, false).with_policies(&policies, ty);
        let mut built = RowBuilder::with_capacity(64);
        built.push(Value::Text(b"1"));
        built.push(Value::Text(value));
        let row = LoadRow { op: Op::Insert, row: built.finish(), commit_lsn: Lsn(1) };
        let load = Load { schema: schema.clone(), present: Present::All, rows: vec![row].into() };
        let mut body = Body::new(Arc::new(plan), &load, SYNCED);
        let text = all(&mut body, 100)?;
        let changed = body.changed_in_all();
        let counted = changed.each().map(|(class, values, column)| {
            assert_eq!(column, 1);
            (class.row().name, values)
        });
        Ok((text, counted.collect()))
    }

    #[test]
    fn every_class_under_every_policy() {
        let numeric = ColumnType::Numeric { digits: None };
        let money = Target::Decimal { precision: 5, scale: 2 };
        let (varchar, json) = (Target::Varchar(4), Target::Json);
        let array = |element| ColumnType::Array { element: Box::new(element), delimiter: b',' };
        let (numbers, days, words) = (array(ColumnType::Int32), array(ColumnType::Date), array(ColumnType::Text));
        let dates = Target::Array(Box::new(Target::Date));
        let large = format!("\"{}\"", "x".repeat(16 << 20));
        let deep = "[".repeat(1001) + &"]".repeat(1001);
        let deep_text = format!("\"{deep}\"");
        // class, type, target, value, what `clamp` loads, what `text` loads; `None` if the table blocks
        let cases: [(&str, &ColumnType, &Target, &[u8], Option<&str>, Option<&str>); 28] = [
            ("numeric_nan", &numeric, &money, b"NaN", None, None),
            ("numeric_infinite", &numeric, &money, b"-Infinity", Some("\"-999.99\""), None),
            ("numeric_range", &numeric, &money, b"123456.789", Some("\"999.99\""), None),
            ("numeric_range", &numeric, &money, b"-1000", Some("\"-999.99\""), None),
            ("numeric_scale", &numeric, &money, b"1.005", Some("\"1.01\""), None),
            ("date_range", &ColumnType::Date, &Target::Date, b"0044-03-15 BC", Some("\"0001-01-01\""), None),
            ("date_range", &ColumnType::Date, &Target::Date, b"10000-01-01", Some("\"9999-12-31\""), None),
            (
                "date_range",
                &ColumnType::TimestampTz,
                &Target::Datetime,
                b"294276-12-31 23:59:59.999999+00",
                Some("\"9999-12-31 23:59:59.999999\""),
                None,
            ),
            (
                "date_infinite",
                &ColumnType::Timestamp,
                &Target::Datetime,
                b"-infinity",
                Some("\"0001-01-01 00:00:00\""),
                None,
            ),
            ("date_infinite", &ColumnType::Date, &Target::Date, b"infinity", Some("\"9999-12-31\""), None),
            ("text_length", &ColumnType::Text, &varchar, "aé€".as_bytes(), Some("\"aé\""), None),
            ("text_length", &ColumnType::Bytea, &varchar, b"\\x0102", None, None),
            ("text_length", &numeric, &varchar, b"12345", None, None),
            ("text_length", &ColumnType::Json, &varchar, b"[1, 2]", None, None),
            ("text_nul", &ColumnType::Text, &varchar, b"a\0b", Some("\"ab\""), None),
            ("text_encoding", &ColumnType::Text, &varchar, b"a\xff", Some("\"a\u{FFFD}\""), None),
            ("text_encoding", &ColumnType::Json, &json, b"\"\xff\"", Some("\"\u{FFFD}\""), None),
            (
                "json_number",
                &ColumnType::Jsonb,
                &json,
                b"[1e400]",
                Some("[1.7976931348623157e308]"),
                Some("\"[1e400]\""),
            ),
            (
                "json_number",
                &ColumnType::Json,
                &json,
                b"{\"a\":0.12345678901234567891}",
                Some("{\"a\":1.2345678901234568e-1}"),
                Some("\"{\\\"a\\\":0.12345678901234567891}\""),
            ),
            ("json_escape", &ColumnType::Json, &json, b"\"\\u0000\"", None, Some("\"\\\"\\\\u0000\\\"\"")),
            ("json_escape", &ColumnType::Json, &json, b"\"\\ud800\"", None, Some("\"\\\"\\\\ud800\\\"\"")),
            ("json_depth", &ColumnType::Jsonb, &json, deep.as_bytes(), None, Some(&deep_text)),
            ("json_size", &ColumnType::Jsonb, &json, large.as_bytes(), None, None),
            ("array_bounds", &numbers, &json, b"[0:1]={1,2}", Some("[1,2]"), Some("\"[0:1]={1,2}\"")),
            ("array_bounds", &days, &dates, b"[0:0]={2024-02-29}", Some("[\"2024-02-29\"]"), None),
            ("array_dimensions", &days, &dates, b"{{2024-02-29}}", None, None),
            ("date_infinite", &days, &dates, b"{infinity}", None, None),
            ("text_encoding", &words, &json, b"{a\xff,b}", Some("[\"a\u{FFFD}\",\"b\"]"), None),
        ];
        let tested: BTreeSet<&str> = cases.iter().map(|case| case.0).collect();
        let untested: Vec<&str> = CLASSES.iter().map(|row| row.name).filter(|name| !tested.contains(name)).collect();
        assert_eq!(untested, [""; 0]);
        for (class, ty, target, value, clamp, text) in cases {
            for (policy, want) in
                [(Policy::Block, None), (Policy::Null, Some("null")), (Policy::Clamp, clamp), (Policy::Text, text)]
            {
                let name =
                    format!("{class} {policy:?} {ty:?} {:?}", String::from_utf8_lossy(&value[..value.len().min(40)]));
                let got = with_policies(ty, target, true, Policies::all(policy), value);
                match (want, got) {
                    (Some(want), Ok((body, changed))) => {
                        assert_eq!(body, format!("[{{\"id\":1,\"v\":{want}}}]"), "{name}");
                        assert_eq!(changed, [(class, 1)], "{name}");
                    }
                    (None, Err(EncodeError::Value(bad))) => {
                        let BadValue { unfit, column, .. } = *bad;
                        assert_eq!((unfit.class().unwrap().row().name, column.as_str()), (class, "v"), "{name}");
                    }
                    (want, got) => panic!("{name}: wanted {want:?}, got {got:?}"),
                }
                if policy == Policy::Null {
                    let got = with_policies(ty, target, false, Policies::all(policy), value);
                    assert!(matches!(got, Err(EncodeError::Value(_))), "{name} where NULL must not be");
                }
            }
        }
    }

    #[test]
    fn a_value_with_two_faults_follows_both_policies() {
        let both = Policies::all(Policy::Clamp);
        let varchar = Target::Varchar(4);
        let got = with_policies(&ColumnType::Text, &varchar, true, both, b"ab\xff\xff").unwrap();
        let want = ("[{\"id\":1,\"v\":\"ab\"}]".to_owned(), vec![("text_length", 1), ("text_encoding", 1)]);
        assert_eq!(got, want, "two characters of three bytes do not fit where two bytes did");
        let document = b"[1e400, \"\\u0000\"]";
        let text = both.with(BadClass::JsonEscape, Policy::Text).unwrap();
        let got = with_policies(&ColumnType::Json, &Target::Json, true, text, document).unwrap();
        let want = r#"[{"id":1,"v":"[1.7976931348623157e308, \"\\u0000\"]"}]"#;
        assert_eq!(got, (want.to_owned(), vec![("json_number", 1), ("json_escape", 1)]));
        let got = with_policies(&ColumnType::Json, &Target::Json, true, both, document);
        assert!(matches!(&got, Err(EncodeError::Value(bad)) if bad.unfit == Unfit::BadEscape), "{got:?}");
    }

    #[test]
    fn keys_block_and_what_is_malformed_blocks_whatever_the_policy() {
        for policy in Policy::ALL {
            let schema = schema(&[("id", ColumnType::Int32), ("d", ColumnType::Date)], &[0]);
            let mut plan = plan(&schema, false, true);
            for (column, source) in plan.columns.iter_mut().zip(&schema.columns) {
                *column = column.clone().with_policies(&Policies::all(policy), &source.ty);
            }
            for (id, date) in [("99999999999", None), ("1", Some("2023-02-29"))] {
                let got = encoded(plan.clone(), &schema, Present::All, vec![row(Op::Insert, &[Some(id), date], 1)]);
                assert!(matches!(got, Err(EncodeError::Value(_))), "{policy:?} {id} {date:?}: {got:?}");
            }
        }
    }

    #[test]
    fn a_body_that_was_not_read_to_its_end_is_counted_to_its_end() {
        let schema = schema(&[("id", ColumnType::Int32), ("d", ColumnType::Date)], &[0]);
        let rows: Vec<LoadRow> =
            (0..40_000).map(|n: i32| row(Op::Insert, &[Some(&n.to_string()), Some("infinity")], 1)).collect();
        let load = Load { schema: schema.clone(), present: Present::All, rows: rows.into() };
        let mut plan = plan(&schema, true, false);
        plan.columns[1] = plan.columns[1].clone().with_policies(&Policies::all(Policy::Null), &ColumnType::Date);
        let mut body = Body::new(Arc::new(plan), &load, SYNCED);
        body.fill().unwrap();
        let so_far = body.changed.each().next().unwrap().1;
        assert!(0 < so_far && so_far < 40_000, "{so_far}");
        let whole: Vec<_> = body.changed_in_all().each().collect();
        assert_eq!(whole, [(BadClass::DateInfinite, 40_000, 1)]);
        body.rewind();
        assert!(body.changed.is_empty(), "a second try counts from nothing");
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

    #[test]
    fn the_memory_of_a_large_row_is_not_kept() {
        let schema = schema(&[("id", ColumnType::Int32), ("note", ColumnType::Text)], &[0]);
        let large = "x".repeat(1 << 20);
        let rows = vec![row(Op::Insert, &[Some("1"), Some(&large)], 1), row(Op::Insert, &[Some("2"), Some("x")], 2)];
        let load = Load { schema: schema.clone(), present: Present::All, rows: Arc::new(rows) };
        let mut body = Body::new(Arc::new(plan(&schema, false, false)), &load, SYNCED);
        body.fill().unwrap();
        assert!(body.chunk.capacity() > large.len());
        body.read = body.chunk.len();
        body.fill().unwrap();
        assert!(body.closed && body.chunk.capacity() <= 2 * CHUNK, "{}", body.chunk.capacity());
    }
}
