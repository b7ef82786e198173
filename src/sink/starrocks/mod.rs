//! StarRocks as a sink, by Stream Load over HTTP and DDL over its MySQL port.
//!
//! In: `Load`s, as slices of the source's own bytes. Out: JSON bodies on the wire and a verdict on each answer. Always:
//! a load is reported done only when the server says that every row sent is in; credentials go to no host outside the
//! policy in `redirect`; every value is checked against its target column before it is sent, because the server
//! itself rounds, cuts off or replaces by NULL without a word. Not here: which rows a load has, order, retries
//! (`pipeline`). Start at [`StarRocks`] in `sink`; `stream_load` is the wire, `encode` the body, `verdict` the judgement.

mod answer;
#[cfg(feature = "bench")]
pub mod bench;
mod date;
mod ddl;
mod encode;
mod escape;
mod http;
mod label;
mod leftovers;
mod number;
mod options;
mod plan;
mod prepare;
mod reasons;
mod redirect;
mod setup;
mod sink;
mod sql;
mod stream_load;
mod table;
#[cfg(test)]
mod tests;
mod truncate;
mod types;
mod value;
mod verdict;

pub use options::{
    BadValue, DEFAULT_HTTP_PORT, DEFAULT_HTTPS_PORT, DEFAULT_SQL_PORT, DeleteMode, Frontend, Options, SinkUrl,
};
pub use sink::StarRocks;
