//! Keeps the store on disk: an append-only log of what was done, done again at the next start.
//!
//! In: entries as they happen. Out: the same entries, in order. Always: an entry is one write, so a killed process
//! leaves whole entries and at most one torn tail, which is cut off at the next start. Nothing is synced: it survives
//! the process, not the machine.
//! File: `u32` length of the head, `u32` length of the rows, head (JSON), rows (little endian, see `write_cell`).
//! Not here: what an entry means (`loading`).

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::error::CatalogError;
use super::rows::{Batch, Order, Row, RowOp, WriteMode};
use super::table::TableDef;
use super::txn::LoadRecord;

const FILE_NAME: &str = "standin.log";
/// Longest head or row block believed, so that a damaged length does not ask for all memory.
const BLOCK_BYTES_MAX: usize = 1 << 31;

/// A log that cannot be opened or done again.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder or the file.
    #[error("stand-in log {0}: {1}")]
    Io(String, #[source] std::io::Error),
    /// An entry that is whole but makes no sense.
    #[error("stand-in log: entry {at} does not read as one: {what}")]
    Damaged {
        /// Which, from 0.
        at: usize,
        /// Why.
        what: String,
    },
    /// An entry that contradicts the ones before it.
    #[error("stand-in log: an entry cannot be done again")]
    Contradiction(#[from] CatalogError),
}

/// What was done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Entry {
    CreateDatabase { name: String, id: u64 },
    DropDatabase { name: String },
    CreateTable { database: String, table: TableDef },
    DropTable { database: String, table: String },
    Truncate { database: String, table: String },
    RenameTable { database: String, table: String, new: String },
    SwapTables { database: String, table: String, other: String },
    Redefine { database: String, table: TableDef },
    Write { database: String, table: String, order: Order, now_ms: i64 },
    Prepare { record: LoadRecord },
    Commit { record: LoadRecord, order: Order, now_ms: i64 },
    Abort { record: LoadRecord },
}

/// A batch as read: it still needs its table.
#[derive(Debug)]
pub(super) struct RawBatch {
    pub(super) table_id: u64,
    mode: WriteMode,
    merge_condition: Option<usize>,
    rows: Vec<(RowOp, Row)>,
}

impl RawBatch {
    pub(super) fn onto(self, table: Arc<TableDef>) -> Batch {
        Batch { table, mode: self.mode, merge_condition: self.merge_condition, rows: self.rows }
    }
}

/// An entry as read, with its rows.
pub(super) type Replayed = (Entry, Vec<RawBatch>);

/// The open log.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Opens or makes the log in `folder` and reads what it holds.
    pub(super) fn open(folder: &Path) -> Result<(Journal, Vec<Replayed>), JournalError> {
        let path = folder.join(FILE_NAME);
        let io = |error| JournalError::Io(path.display().to_string(), error);
        std::fs::create_dir_all(folder).map_err(io)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let (entries, whole) = read_entries(&bytes)?;
        file.set_len(whole as u64).map_err(io)?;
        file.seek(SeekFrom::Start(whole as u64)).map_err(io)?;
        Ok((Journal { file }, entries))
    }

    /// Adds an entry. A disk that refuses it is reported once per entry and does not stop the server: the stand-in's
    /// memory stays right, only its next start will not know of the entry.
    pub(super) fn append(&mut self, entry: &Entry, batches: &[Batch]) {
        let mut rows = Vec::new();
        batches.iter().for_each(|batch| write_batch(batch, &mut rows));
        let head = match serde_json::to_vec(entry) {
            Ok(head) => head,
            Err(error) => {
                tracing::error!(%error, "an entry of the stand-in's log could not be written down");
                return;
            }
        };
        let mut block = Vec::with_capacity(8 + head.len() + rows.len());
        block.extend_from_slice(&(head.len() as u32).to_le_bytes());
        block.extend_from_slice(&(rows.len() as u32).to_le_bytes());
        block.extend_from_slice(&head);
        block.extend_from_slice(&rows);
        if let Err(error) = self.file.write_all(&block) {
            tracing::error!(%error, "the stand-in's log could not be written");
        }
    }
}

/// All whole entries, and where they end.
fn read_entries(bytes: &[u8]) -> Result<(Vec<Replayed>, usize), JournalError> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some((head, rows)) = block(&bytes[at..]) {
        let damaged = |what: String| JournalError::Damaged { at: entries.len(), what };
        let entry = serde_json::from_slice(head).map_err(|error| damaged(error.to_string()))?;
        let mut source = Source { bytes: rows, at: 0 };
        let mut batches = Vec::new();
        while source.at < rows.len() {
            batches.push(source.batch().ok_or_else(|| damaged("its rows end early".to_string()))?);
        }
        at += 8 + head.len() + rows.len();
        entries.push((entry, batches));
    }
    Ok((entries, at))
}

fn block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let (head, rows) = (length(0)?, length(4)?);
    if head > BLOCK_BYTES_MAX || rows > BLOCK_BYTES_MAX {
        return None;
    }
    Some((bytes.get(8..8 + head)?, bytes.get(8 + head..8 + head + rows)?))
}

fn write_batch(batch: &Batch, out: &mut Vec<u8>) {
    out.extend_from_slice(&batch.table.id.to_le_bytes());
    match &batch.mode {
        WriteMode::Full => write_length(usize::MAX, out),
        WriteMode::Partial(columns) => {
            write_length(columns.len(), out);
            columns.iter().for_each(|column| write_length(*column, out));
        }
    }
    write_length(batch.merge_condition.unwrap_or(usize::MAX), out);
    write_length(batch.rows.len(), out);
    for (op, row) in &batch.rows {
        out.push(u8::from(*op == RowOp::Delete));
        write_length(row.len(), out);
        row.iter().for_each(|cell| write_cell(cell, out));
    }
}

/// `usize::MAX` stands for "none" and is written as `u32::MAX`.
fn write_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// A tag, then the value.
fn write_cell(cell: &Cell, out: &mut Vec<u8>) {
    match cell {
        Cell::Null => out.push(0),
        Cell::Bool(value) => out.extend_from_slice(&[1, u8::from(*value)]),
        Cell::Int(value) => tagged(2, &value.to_le_bytes(), out),
        Cell::LargeInt(value) => tagged(3, &value.to_le_bytes(), out),
        Cell::Float(value) => tagged(4, &value.to_le_bytes(), out),
        Cell::Double(value) => tagged(5, &value.to_le_bytes(), out),
        Cell::Decimal(value, scale) => {
            tagged(6, &value.to_le_bytes(), out);
            out.push(*scale);
        }
        Cell::Date(days) => tagged(7, &days.to_le_bytes(), out),
        Cell::DateTime(micros) => tagged(8, &micros.to_le_bytes(), out),
        Cell::Text(bytes) => {
            out.push(9);
            write_bytes(bytes, out);
        }
        Cell::Binary(bytes) => {
            out.push(10);
            write_bytes(bytes, out);
        }
        Cell::Json(text) => {
            out.push(11);
            write_bytes(text.as_bytes(), out);
        }
        Cell::Array(cells) => {
            out.push(12);
            write_length(cells.len(), out);
            cells.iter().for_each(|cell| write_cell(cell, out));
        }
    }
}

fn tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Source<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn length(&mut self) -> Option<usize> {
        Some(u32::from_le_bytes(self.array()?) as usize)
    }

    fn batch(&mut self) -> Option<RawBatch> {
        let none = u32::MAX as usize;
        let table_id = u64::from_le_bytes(self.array()?);
        let mode = match self.length()? {
            count if count == none => WriteMode::Full,
            count => WriteMode::Partial((0..count).map(|_| self.length()).collect::<Option<_>>()?),
        };
        let merge_condition = Some(self.length()?).filter(|at| *at != none);
        let count = self.length()?;
        let rows = (0..count).map(|_| self.row()).collect::<Option<_>>()?;
        Some(RawBatch { table_id, mode, merge_condition, rows })
    }

    fn row(&mut self) -> Option<(RowOp, Row)> {
        let op = if self.array::<1>()? == [1] { RowOp::Delete } else { RowOp::Upsert };
        let count = self.length()?;
        let cells = (0..count).map(|_| self.cell()).collect::<Option<Vec<Cell>>>()?;
        Some((op, cells.into()))
    }

    fn cell(&mut self) -> Option<Cell> {
        let [tag] = self.array()?;
        Some(match tag {
            0 => Cell::Null,
            1 => Cell::Bool(self.array()? == [1]),
            2 => Cell::Int(i64::from_le_bytes(self.array()?)),
            3 => Cell::LargeInt(i128::from_le_bytes(self.array()?)),
            4 => Cell::Float(f32::from_le_bytes(self.array()?)),
            5 => Cell::Double(f64::from_le_bytes(self.array()?)),
            6 => {
                let digits = i128::from_le_bytes(self.array()?);
                let [scale] = self.array()?;
                Cell::Decimal(digits, scale)
            }
            7 => Cell::Date(i32::from_le_bytes(self.array()?)),
            8 => Cell::DateTime(i64::from_le_bytes(self.array()?)),
            9 => Cell::Text(self.byte_string()?.into()),
            10 => Cell::Binary(self.byte_string()?.into()),
            11 => Cell::Json(std::str::from_utf8(self.byte_string()?).ok()?.into()),
            12 => {
                let count = self.length()?;
                Cell::Array((0..count).map(|_| self.cell()).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    fn byte_string(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }
}
