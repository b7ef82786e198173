//! What a row costs in each format that a load's body may have: bytes, and CPU time to make and to unpack them.
//!
//! `cargo bench --features bench --bench body_format` prints a table. JSON as an array is what the sink sends, made by
//! the sink's own encoder with all its checks. NDJSON is made from it. CSV is made here, without any check and without
//! quotes, between separators that occur in no value: less than a real encoder would have to do, so a floor. Times are
//! the least CPU time of several tries, which a busy machine changes little.

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;

use sluicegate::model::{
    Column, ColumnType, Load, LoadRow, Lsn, Op, Present, RowBuilder, TableId, TableName, TableSchema, Value,
};
use sluicegate::sink::starrocks::Compression;
use sluicegate::sink::starrocks::bench::encode_into;

/// Rows of one body.
const ROWS: usize = 10_000;
/// Tries of which the fastest counts.
const TRIES: usize = 7;
/// What the sink hands to the compressor at once, in bytes.
const CHUNK: usize = 256 << 10;
/// In front of each line of a table of its shape.
const HEAD: &str =
    "| body | bytes a row | of JSON | µs to make | µs to pack | µs to unpack |\n|---|--:|--:|--:|--:|--:|";

/// A table and what its rows hold.
struct Shape {
    name: &'static str,
    columns: Vec<(&'static str, ColumnType)>,
    row: fn(&mut Dice) -> Vec<String>,
}

fn shapes() -> [Shape; 3] {
    use ColumnType::{Bool, Char, Date, Float64, Int16, Int32, Int64, Numeric, Text, Timestamp, TimestampTz, Uuid};
    let varchar = || ColumnType::Varchar { chars: Some(24) };
    let money = Numeric { digits: Some((14, 2)) };
    [
        Shape {
            name: "narrow: 4 columns, three numbers and 32 random digits",
            columns: vec![("a", Int32), ("b", Int32), ("c", Int32), ("d", Char { chars: 84 })],
            row: |dice| vec![dice.next_id(), dice.below(1000), dice.below(100_000), format!("{:<84}", dice.hex(32))],
        },
        Shape {
            name: "wide: 20 columns, about 1 kB, half of it words",
            columns: vec![
                ("id", Int64),
                ("customer", Int32),
                ("quantity", Int16),
                ("paid", Bool),
                ("price", money),
                ("ratio", Float64),
                ("born", Date),
                ("seen", Timestamp),
                ("placed", TimestampTz),
                ("token", Uuid),
                ("code", varchar()),
                ("kind", Char { chars: 8 }),
                ("title", Text),
                ("note", Text),
                ("street", Text),
                ("city", Text),
                ("phone", Text),
                ("body", Text),
                ("state", Text),
                ("spare", Text),
            ],
            row: wide_row,
        },
        Shape {
            name: "opaque: 2 columns, 2 kB of random digits",
            columns: vec![("id", Int64), ("payload", Text)],
            row: |dice| vec![dice.next_id(), dice.hex(2000)],
        },
    ]
}

fn wide_row(dice: &mut Dice) -> Vec<String> {
    let time = |dice: &mut Dice| {
        format!(
            "2026-{:02}-{:02} 1{}:0{}:2{}",
            1 + dice.next() % 9,
            10 + dice.next() % 18,
            dice.next() % 10,
            dice.next() % 10,
            dice.next() % 10
        )
    };
    vec![
        dice.next_id(),
        dice.below(1_000_000),
        dice.below(100),
        if dice.next().is_multiple_of(3) { "t" } else { "f" }.to_owned(),
        format!("{}.{:02}", dice.below(100_000), dice.next() % 100),
        (dice.next() as f64 / 7.0).to_string(),
        format!("19{:02}-0{}-1{}", dice.next() % 90 + 10, dice.next() % 9 + 1, dice.next() % 10),
        time(dice),
        time(dice) + ".123456+00",
        format!("{}-{}-{}-{}-{}", dice.hex(8), dice.hex(4), dice.hex(4), dice.hex(4), dice.hex(12)),
        format!("P{}", dice.below(10_000_000)),
        "new     ".to_owned(),
        dice.words(6),
        dice.words(12) + " \"as ordered\"",
        format!("{}, {} Street", dice.below(200), dice.words(1)),
        "Zürich".to_owned(),
        format!("+41 {}", dice.below(1_000_000_000)),
        dice.words(60),
        "shipped".to_owned(),
        String::new(),
    ]
}

/// Numbers that look random and are the same in each run.
struct Dice {
    state: u64,
    id: u64,
}

const WORDS: [&str; 32] = [
    "order",
    "arrived",
    "late",
    "customer",
    "called",
    "about",
    "the",
    "blue",
    "parcel",
    "and",
    "asked",
    "for",
    "a",
    "refund",
    "because",
    "delivery",
    "was",
    "left",
    "at",
    "wrong",
    "door",
    "please",
    "check",
    "with",
    "carrier",
    "invoice",
    "number",
    "missing",
    "second",
    "address",
    "warehouse",
    "tomorrow",
];

impl Dice {
    fn next(&mut self) -> u64 {
        // Marsaglia's xorshift.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 11
    }

    fn next_id(&mut self) -> String {
        self.id += 1;
        self.id.to_string()
    }

    fn below(&mut self, end: u64) -> String {
        (self.next() % end).to_string()
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from_digit((self.next() % 16) as u32, 16).unwrap_or('0')).collect()
    }

    fn words(&mut self, count: usize) -> String {
        (0..count).map(|_| WORDS[(self.next() % 32) as usize]).collect::<Vec<_>>().join(" ")
    }
}

fn load(shape: &Shape) -> Load {
    let column = |(name, ty): &(&str, ColumnType)| Column { name: (*name).to_owned(), ty: ty.clone(), nullable: true };
    let mut dice = Dice { state: 88_172_645_463_325_252, id: 0 };
    let rows = (0..ROWS).map(|n| {
        let mut row = RowBuilder::with_capacity(256);
        for value in (shape.row)(&mut dice) {
            row.push(if value.is_empty() { Value::Null } else { Value::Text(value.as_bytes()) });
        }
        LoadRow { op: Op::Insert, row: row.finish(), commit_lsn: Lsn(0x16_B374_D848 + 4096 * (n as u64 / 100)) }
    });
    Load {
        schema: Arc::new(TableSchema {
            id: TableId(7),
            name: TableName { schema: "public".into(), name: "t".into() },
            target: "t".into(),
            columns: shape.columns.iter().map(column).collect(),
            key: vec![0],
            complete: true,
        }),
        present: Present::All,
        rows: Arc::new(rows.collect()),
    }
}

/// CSV as it is smallest and cheapest: no quotes, no checks.
fn csv(load: &Load, out: &mut Vec<u8>) {
    for row in load.rows.iter() {
        for value in row.row.columns() {
            match value {
                Value::Text(text) => out.extend_from_slice(text),
                Value::Null | Value::Unchanged => out.extend_from_slice(b"\\N"),
            }
            out.push(1);
        }
        out.extend_from_slice(b"0\x01false\x012026-01-02 03:04:05.000006\x01");
        out.extend_from_slice(row.commit_lsn.0.to_string().as_bytes());
        out.push(2);
    }
}

/// The array's elements, a line each.
fn ndjson(array: &[u8]) -> Vec<u8> {
    // No value here holds a brace, so these bytes stand between rows only.
    let text = std::str::from_utf8(array).expect("text").replace("},{", "}\n{");
    let mut bytes = text.trim_start_matches('[').trim_end_matches(']').as_bytes().to_vec();
    bytes.push(b'\n');
    bytes
}

#[derive(Clone, Copy)]
enum Codec {
    Plain,
    Lz4,
    Zstd(i32),
}

const CODECS: [(&str, Codec); 5] = [
    ("", Codec::Plain),
    (", lz4", Codec::Lz4),
    (", zstd 1", Codec::Zstd(1)),
    (", zstd 2", Codec::Zstd(2)),
    (", zstd 3", Codec::Zstd(3)),
];

impl Codec {
    fn pack(self, body: &[u8]) -> Vec<u8> {
        match self {
            Codec::Plain => body.to_vec(),
            Codec::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max256KB);
                let mut frame = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                body.chunks(CHUNK).for_each(|piece| frame.write_all(piece).expect("memory"));
                frame.finish().expect("memory")
            }
            Codec::Zstd(level) => {
                let mut frame = zstd::stream::write::Encoder::new(Vec::new(), level).expect("memory");
                body.chunks(CHUNK).for_each(|piece| frame.write_all(piece).expect("memory"));
                frame.finish().expect("memory")
            }
        }
    }

    fn unpack(self, body: &[u8]) -> usize {
        let mut out = Vec::new();
        let read = match self {
            Codec::Plain => return body.len(),
            Codec::Lz4 => lz4_flex::frame::FrameDecoder::new(body).read_to_end(&mut out),
            Codec::Zstd(_) => zstd::stream::read::Decoder::new(body).and_then(|mut frame| frame.read_to_end(&mut out)),
        };
        read.expect("a whole frame")
    }
}

/// CPU time of this thread, in seconds.
fn cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "the standard library has no clock of CPU time")]
    // SAFETY: `time` is a valid, writable timespec for the whole call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "there is such a clock");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The least CPU time, in microseconds a row.
fn micros<T>(mut work: impl FnMut() -> T) -> f64 {
    let one = |()| {
        let start = cpu();
        black_box(work());
        cpu() - start
    };
    std::iter::repeat_n((), TRIES).map(one).fold(f64::INFINITY, f64::min) * 1e6 / ROWS as f64
}

fn main() {
    for shape in shapes() {
        let load = load(&shape);
        let (mut array, mut separated) = (Vec::new(), Vec::new());
        let json_time = micros(|| {
            array.clear();
            encode_into(&load, Compression::None, &mut array);
        });
        let csv_time = micros(|| {
            separated.clear();
            csv(&load, &mut separated);
        });
        println!("\n{}\n\n{HEAD}", shape.name);
        // A line end where the array has a comma: there is nothing to gain and nothing to measure in making it.
        let bodies = [
            ("JSON array", array.clone(), json_time),
            ("NDJSON", ndjson(&array), json_time),
            ("CSV", separated, csv_time),
        ];
        for (format, body, make) in &bodies {
            for (name, codec) in CODECS {
                let packed = codec.pack(body);
                assert_eq!(codec.unpack(&packed), body.len());
                let (pack, unpack) = match codec {
                    Codec::Plain => (0.0, 0.0),
                    _ => (micros(|| codec.pack(body)), micros(|| codec.unpack(&packed))),
                };
                println!(
                    "| {format}{name} | {:.1} | {:.0} % | {make:.2} | {pack:.2} | {unpack:.2} |",
                    packed.len() as f64 / ROWS as f64,
                    100.0 * packed.len() as f64 / array.len() as f64,
                );
            }
        }
        for compression in [Compression::Lz4, Compression::Zstd] {
            let mut body = Vec::new();
            let time = micros(|| {
                body.clear();
                encode_into(&load, compression, &mut body);
            });
            println!(
                "as the sink sends it, {compression:?}: {:.1} bytes, {time:.2} µs a row",
                body.len() as f64 / ROWS as f64
            );
        }
    }
}
