//! The MySQL port of the frontend: StarRocks' `query_port`.
//!
//! In: connections of any MySQL client. Out: what StarRocks would answer, packet for packet.
//! Always: protocol 10, text queries, EOF packets; TLS and compression are not offered.
//! Not here: what SQL means (`sql`).
//! Start at `serve`.

mod connection;
mod handshake;
mod prepared;
mod resultset;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Shared;
use crate::sql::Frontend;

// Connection ids are the process's, as `SELECT connection_id()` shows them.
static NEXT_CONNECTION: AtomicU32 = AtomicU32::new(1);

/// Serves clients until dropped; dropping ends every connection.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let frontend = Arc::new(Frontend {
        store: Arc::clone(&shared.store),
        http_port: shared.ports.fe_http,
        backend_http_port: shared.ports.be_http,
        query_port: shared.ports.sql,
    });
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and waited for.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "set TCP_NODELAY");
                }
                // Relaxed: only uniqueness matters.
                let id = NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed);
                let connection = connection::Connection::new(stream, Arc::clone(&frontend), id);
                connections.spawn(async move {
                    if let Err(error) = connection.run().await {
                        tracing::debug!(%peer, %error, "mysql connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the mysql port");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}
