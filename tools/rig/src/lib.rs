//! What the demo and the end-to-end tests share: real parts, each private and short-lived.
//!
//! A [`Cluster`] is a PostgreSQL of our own, a [`Sidecar`] the real binary; [`shop`] makes tables and traffic,
//! [`compare()`] finds differences between the two sides.

mod cluster;
mod compare;
mod ports;
pub mod shop;
mod sidecar;
mod standin;

pub use cluster::{Cluster, ClusterError, SUPERUSER, major};
pub use compare::{CompareError, Comparison, compare};
pub use ports::free_port;
pub use sidecar::{Said, Sidecar, Status, parse_lsn, verify};
pub use standin::{Standin, Stored};
pub use starrocks_standin::fault;
