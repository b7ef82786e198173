//! A stand-in for StarRocks: an in-memory server with StarRocks' two faces, for tests and the quick start.
//!
//! It is not StarRocks and not a database. It takes loads and DDL as StarRocks takes them, strict where StarRocks is
//! strict and silent where it is silent, and makes faults to order.
//!
//! In: HTTP loads (an FE port that redirects to a BE port), SQL on a MySQL port. Out: typed rows in memory.
//! Start at `Server::start`, then `store`.

mod control;
pub mod fault;
mod http;
pub mod json;
pub mod load;
pub mod mysql;
mod server;
pub mod sql;
pub mod store;

use std::sync::Arc;

pub use server::{Options, Server, StartError};

/// The ports a server listens on, all on one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Ports {
    /// The frontend's HTTP port (StarRocks: 8030).
    pub fe_http: u16,
    /// The backend's HTTP port (StarRocks: 8040).
    pub be_http: u16,
    /// The frontend's MySQL port (StarRocks: 9030).
    pub sql: u16,
    /// Faults and history; StarRocks has no such port.
    pub control: u16,
}

/// What every face of one server shares.
#[derive(Debug)]
pub struct Shared {
    /// The state.
    pub store: Arc<store::Store>,
    /// Where the faces are.
    pub ports: Ports,
}
