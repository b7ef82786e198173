//! The control surface: gRPC, and HTTP for probes and metrics. Translates, decides nothing.

use std::net::SocketAddr;
use std::time::Duration;

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// gRPC.
    pub grpc_addr: SocketAddr,
    /// HTTP: `/metrics`, `/livez`, `/readyz`; not served if `None`.
    pub http_addr: Option<SocketAddr>,
    /// Replication lag up to which the health name `replication` is SERVING.
    pub lag_max: Duration,
    /// Whether gRPC reflection is served.
    pub reflection: bool,
}
