//! Loopback ports for servers that must be told their port before they start.
//!
//! In: nothing. Out: a port nobody listens on, below the range from which the kernel takes the ports of outgoing
//! connections. Always: no port twice in one process. Not here: keeping it; whoever listens first has it.
//! Start at [`free_port`].
//!
//! A port that the kernel picks (bind to port 0) is from the range of outgoing connections: between the pick and the
//! use, and while a server is down for a moment, any connection of any program may get it.

use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below are ports that well-known services use; above, the kernel's default range of outgoing connections begins.
const PORTS: Range<u32> = 15_000..32_000;

/// How far apart two processes begin to look: far more ports than any test run needs at once.
const STRIDE: u32 = 641;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A loopback port that was free a moment ago, never given before by this process.
///
/// # Errors
/// If none is free.
pub fn free_port() -> io::Result<u16> {
    let first = std::process::id().wrapping_mul(STRIDE);
    for _ in PORTS {
        let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + first.wrapping_add(taken) % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).map_err(io::Error::other)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no loopback port from {PORTS:?} is free")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let held: Vec<TcpListener> =
            (0..50).map(|_| TcpListener::bind(("127.0.0.1", free_port().unwrap())).unwrap()).collect();
        let ports: HashSet<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), held.len());
        assert!(ports.iter().all(|port| PORTS.contains(&u32::from(*port))));
    }
}
