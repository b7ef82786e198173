//! The MySQL port from the outside: `contract` is the table of behaviours, `wire` the bytes, `modes` what settings
//! change, `clients` programs that were not written here.
//!
//! Start at `support::Target`.

mod clients;
mod contract;
mod modes;
mod support;
mod wire;
