//! StarRocks as a sink, by Stream Load over HTTP and DDL over its MySQL port.
//!
//! In: `Load`s, as slices of the source's own bytes. Out: JSON bodies on the wire and a verdict on each answer. Always:
//! a load is reported done only when the server says that every row sent is in; credentials go to no host outside the
//! policy in `redirect`; every value is checked against its target column before it is sent, because the server
//! itself rounds, cuts off or replaces by NULL without a word. Not here: which rows a load has, order, retries
//! (`pipeline`). Start at [`StarRocks`] in `sink`; `stream_load` is the wire, `encode` the body, `verdict` the judgement.

mod answer;
mod array;
#[cfg(feature = "bench")]
pub mod bench;
mod blocked;
mod canonical_json;
mod compound;
mod compress;
mod contents;
mod date;
mod ddl;
mod element;
mod encode;
mod escape;
mod fit;
mod hstore;
mod http;
mod instead;
mod json;
mod label;
mod leftovers;
mod nearest;
mod number;
mod options;
mod plan;
mod policy;
mod prepare;
mod quoted;
mod reasons;
mod redirect;
mod setup;
mod sink;
mod spelling;
mod sql;
mod stream_load;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod truncate;
#[cfg(test)]
mod twin;
mod types;
mod types_page;
mod value;
mod verdict;
mod wider;

pub use compress::Compression;
pub use contents::{Contents, Copied};
pub use options::{
    ArrayAs, ByteaAs, DEFAULT_HTTP_PORT, DEFAULT_HTTPS_PORT, DEFAULT_SQL_PORT, DeleteMode, Frontend, JsonAs, NumericAs,
    Options, SinkUrl, TypeRules,
};
pub use policy::{BadClass, CLASSES, ClassRow, Policies, Policy, classes_in_markdown};
pub use sink::StarRocks;
pub use types_page::types_page;
