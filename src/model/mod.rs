//! The plain data everyone speaks: positions, tables, rows, changes, loads and reasons.
//!
//! In and out: nothing is read or sent here. Always: a type here knows no product; what is said of
//! PostgreSQL or StarRocks is said where it is translated. Start at [`Change`] and [`TableSchema`].

mod budget;
mod change;
mod column_set;
mod load;
mod lsn;
mod reason;
mod row;
mod stage;
mod table;
mod visibility;

pub use budget::{Budget, BudgetPart, Permit};
pub use change::{Block, Change, Event, OldRow};
pub use column_set::ColumnSet;
pub use load::{Load, LoadRow, Op, Present};
pub use lsn::{Lsn, ParseLsnError};
pub use reason::{Class, Reason};
pub use row::{Columns, EachRow, Row, RowBuilder, Value};
pub use stage::{Stage, TableState};
pub use table::{Column, ColumnType, TableId, TableName, TableSchema};
pub use visibility::{ParseVisibilityError, Visibility};
