//! The control surface: gRPC for control planes, HTTP for probes and metrics, and a client for our own command line.
//!
//! In: [`status::Status`](crate::status::Status) and the engine's [`Handle`](crate::engine::Handle). Out: answers.
//! Always: everything is answered from memory in every stage, nothing on the data path waits for a reader, and what one
//! client can take (connections, streams, bytes, time) is bounded. Not here: deciding; commands go to the engine and
//! come back accepted or refused. Start at [`serve`]; `board` is what every answer is made from, `translate` how it
//! looks on the wire, `docs/control.md` the reference for users.

use std::net::SocketAddr;
use std::time::Duration;

mod board;
pub mod client;
mod control;
mod exposition;
mod failure;
mod feed;
mod health;
mod http;
mod lag;
mod listen;
pub mod pb;
mod process;
mod rates;
mod remembered;
mod server;
mod views;

mod translate;

pub use listen::{BindError, Listeners};
pub use server::{ServeError, serve};

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// gRPC.
    pub grpc_addr: SocketAddr,
    /// HTTP: `/metrics`, `/livez`, `/readyz`, `/replz`; not served if `None`.
    pub http_addr: Option<SocketAddr>,
    /// Replication lag up to which the health name `replication` is SERVING.
    pub lag_max: Duration,
    /// Whether gRPC reflection is served.
    pub reflection: bool,
}
