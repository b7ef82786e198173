//! What the demo and the end-to-end tests share: real parts, each private and short-lived.
//!
//! Start at [`Cluster`].

mod cluster;

pub use cluster::{Cluster, ClusterError, SUPERUSER, free_port};
