//! The three steps that every row takes, each alone: received bytes to events, events to loads, loads to a body.
//!
//! `cargo bench --features bench` for times; `scripts/bench.sh --instructions` for instructions, which a busy machine
//! does not change. Each step is a function of its own that is never inlined, so that a profiler can tell them apart.

use std::hint::black_box;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use sluicegate::model::{Change, Column, ColumnType, Event, Load, Lsn, TableId, TableName, TableSchema};
use sluicegate::pipeline::bench::collapse;
use sluicegate::sink::starrocks::bench::encode;
use sluicegate::source::postgres::bench::Decoding;

fn main() {
    divan::main();
}

/// Rows of one step.
const ROWS: usize = 10_000;

/// A table and the text of row `n` in each of its columns; `None` is NULL.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Narrow,
    Wide,
}

const SHAPES: [Shape; 2] = [Shape::Narrow, Shape::Wide];

/// Name and type OID (PostgreSQL, `pg_type.dat`) of each column; the first is the key.
const NARROW: &[(&str, u32)] = &[("a", 23), ("b", 23), ("c", 23), ("d", 1042)];
const WIDE: &[(&str, u32)] = &[
    ("id", 20),
    ("n4", 23),
    ("n2", 21),
    ("flag", 16),
    ("money", 1700),
    ("ratio", 701),
    ("f4", 700),
    ("born", 1082),
    ("seen", 1114),
    ("placed", 1184),
    ("token", 2950),
    ("attributes", 3802),
    ("code", 1043),
    ("kind", 1042),
    ("title", 25),
    ("note", 25),
    ("street", 25),
    ("city", 25),
    ("body", 25),
    ("spare", 25),
];

impl Shape {
    fn columns(self) -> &'static [(&'static str, u32)] {
        match self {
            Shape::Narrow => NARROW,
            Shape::Wide => WIDE,
        }
    }

    fn row(self, n: usize) -> Vec<Option<String>> {
        let hex = format!("{:032x}", n as u128 * 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834);
        let values = match self {
            Shape::Narrow => {
                vec![n.to_string(), (n % 1000).to_string(), (n * 7 % 100_000).to_string(), format!("{hex:<84}")]
            }
            Shape::Wide => vec![
                n.to_string(),
                (n % 77_777).to_string(),
                (n % 100).to_string(),
                if n.is_multiple_of(3) { "t" } else { "f" }.to_owned(),
                format!("{}.{:02}", n / 100, n % 100),
                (n as f64 / 7.0).to_string(),
                (n as f64 / 8.0).to_string(),
                format!("20{:02}-{:02}-{:02}", n % 100, n % 12 + 1, n % 28 + 1),
                format!("2020-01-01 {:02}:{:02}:{:02}", n % 24, n % 60, n % 60),
                format!("2024-05-06 07:08:{:02}.123456+00", n % 60),
                format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]),
                format!(r#"{{"n": {n}, "on": true, "tags": ["red", "blue"]}}"#),
                format!("P{n}"),
                "new     ".to_owned(),
                format!("Title of the row {n}"),
                r#"a quick "note" "#.repeat(6),
                format!("{n}, Long Street"),
                "Zürich".to_owned(),
                hex.repeat(16),
            ],
        };
        let nulls = self.columns().len() - values.len();
        values.into_iter().map(Some).chain(std::iter::repeat_n(None, nulls)).collect()
    }

    /// Rows of one transaction, as the server sends them.
    fn frame(self) -> Bytes {
        let mut frame = BytesMut::new();
        let mut begin = BytesMut::from(&b"B"[..]);
        begin.put_slice(&[0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9]);
        copy_data(&mut frame, &begin);
        copy_data(&mut frame, &self.relation());
        for n in 0..ROWS {
            copy_data(&mut frame, &self.insert(n));
        }
        let mut commit = BytesMut::from(&b"C\0"[..]);
        commit.put_slice(&[0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 16, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        copy_data(&mut frame, &commit);
        frame.freeze()
    }

    fn relation(self) -> BytesMut {
        let mut message = BytesMut::from(&b"R\0\0\0\x07public\0t\0d"[..]);
        message.put_u16(self.columns().len() as u16);
        for (at, (name, oid)) in self.columns().iter().enumerate() {
            message.put_u8(u8::from(at == 0));
            message.put_slice(name.as_bytes());
            message.put_u8(0);
            message.put_u32(*oid);
            message.put_i32(-1);
        }
        message
    }

    fn insert(self, n: usize) -> BytesMut {
        let mut message = BytesMut::from(&b"I\0\0\0\x07N"[..]);
        let row = self.row(n);
        message.put_u16(row.len() as u16);
        for value in row {
            match value {
                None => message.put_u8(b'n'),
                Some(text) => {
                    message.put_u8(b't');
                    message.put_u32(text.len() as u32);
                    message.put_slice(text.as_bytes());
                }
            }
        }
        message
    }

    fn decoding(self) -> Decoding {
        let column =
            |(name, _): &(&str, u32)| Column { name: (*name).to_owned(), ty: ColumnType::Text, nullable: true };
        Decoding::new(Arc::new(TableSchema {
            id: TableId(7),
            name: TableName { schema: "public".into(), name: "t".into() },
            target: "t".into(),
            columns: self.columns().iter().map(column).collect(),
            key: vec![0],
            complete: true,
        }))
    }

    /// The table and its changes, in a batch.
    fn batch(self) -> (Arc<TableSchema>, Vec<(Lsn, Change)>) {
        let (mut schema, mut changes) = (None, Vec::new());
        for event in self.decoding().decode(&self.frame()) {
            match event {
                Event::Schema(told) => schema = Some(told),
                Event::Change { change, .. } => changes.push((Lsn(4096), change)),
                _ => {}
            }
        }
        (schema.expect("a relation was sent"), changes)
    }

    fn load(self) -> Load {
        let (schema, changes) = self.batch();
        collapse(schema, changes).pop().expect("one load")
    }
}

/// XLogData in CopyData.
fn copy_data(frame: &mut BytesMut, message: &[u8]) {
    frame.put_u8(b'd');
    frame.put_u32((4 + 1 + 24 + message.len()) as u32);
    frame.put_u8(b'w');
    frame.put_bytes(0, 24);
    frame.put_slice(message);
}

#[inline(never)]
fn step_decode(decoding: &mut Decoding, frame: &Bytes) -> Vec<Event> {
    decoding.decode(frame)
}

#[inline(never)]
fn step_collapse((schema, changes): (Arc<TableSchema>, Vec<(Lsn, Change)>)) -> Vec<Load> {
    collapse(schema, changes)
}

#[inline(never)]
fn step_encode(load: &Load, piece: &mut [u8]) -> u64 {
    encode(load, piece)
}

#[divan::bench(args = SHAPES)]
fn decode_rows(bencher: Bencher<'_, '_>, shape: Shape) {
    let frame = shape.frame();
    let bencher = bencher.counter(ItemsCount::new(ROWS)).counter(BytesCount::new(frame.len()));
    bencher.with_inputs(|| shape.decoding()).bench_local_refs(|decoding| step_decode(decoding, &frame));
}

#[divan::bench(args = SHAPES)]
fn collapse_rows(bencher: Bencher<'_, '_>, shape: Shape) {
    let (schema, changes) = shape.batch();
    let bencher = bencher.counter(ItemsCount::new(ROWS)).counter(BytesCount::new(shape.frame().len()));
    bencher.with_inputs(|| (schema.clone(), changes.clone())).bench_local_values(step_collapse);
}

#[divan::bench(args = SHAPES)]
fn encode_rows(bencher: Bencher<'_, '_>, shape: Shape) {
    let load = shape.load();
    let mut piece = vec![0; 256 << 10];
    let bytes = encode(&load, &mut piece);
    let bencher = bencher.counter(ItemsCount::new(ROWS)).counter(BytesCount::new(bytes));
    bencher.bench_local(|| step_encode(black_box(&load), &mut piece));
}
