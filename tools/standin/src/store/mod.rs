//! The in-memory state behind both faces: databases, tables, typed rows, schema changes, labels, history.
//!
//! In: DDL and DML of the MySQL port, loads of the HTTP ports. Out: definitions, rows, jobs and loads to show.
//! Always: one lock guards everything; a load becomes visible whole or not at all.
//! Not here: wire formats, statement texts, reading JSON and CSV (`crate::load`).
//! Start at `Store`.

mod alter;
pub mod calendar;
mod cell;
pub mod convert;
mod databases;
mod error;
mod journal;
mod key;
mod loading;
mod rows;
mod settings;
mod table;
mod txn;
mod types;

pub use alter::{AlterJob, AlterState, ColumnChange, Place};
pub use cell::Cell;
pub use databases::Store;
pub use error::CatalogError;
pub use journal::JournalError;
pub use key::{KEY_BYTES_MAX, encode_key};
pub use loading::LabelState;
pub use rows::{Batch, Row, RowOp, WriteMode};
pub use settings::{Release, Settings};
pub use table::{Aggregation, ColumnDef, ColumnDefault, Distribution, NewTable, TableDef, TableModel};
pub use txn::{BeginError, Counts, LoadRecord, TxnState};
pub use types::{MAX_CHAR_BYTES, MAX_DECIMAL_DIGITS, MAX_VARCHAR_BYTES, STRING_BYTES, SrType};
