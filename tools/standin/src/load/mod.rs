//! Turns the body of a load into rows for a table.
//!
//! In: the load's headers, the table, the whole body. Out: a `Loaded`: a checked batch, counts, error lines; or the text
//! the load fails with. Always: the store is not touched; a load that fails has no effect.
//! Not here: HTTP, labels, commit (`crate::http`).
//! Start at `Plan::new`, then `Plan::load`.

mod columns;
mod compression;
mod count;
mod csv;
mod expression;
mod json_rows;
mod path;
mod plan;
mod request;
mod row_sink;

pub use compression::Compression;
pub use count::RowCounter;
pub use plan::{Loaded, Plan};
pub use request::{Format, LoadRequest};
