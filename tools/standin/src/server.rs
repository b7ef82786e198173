//! The whole server: its faces on their ports.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fault::Faults;
use crate::http::{self, Connection};
use crate::store::{Settings, Store};
use crate::{Ports, Shared, mysql};

/// What to start. Port 0 takes a free one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How it behaves.
    pub settings: Settings,
    /// Wanted ports.
    pub fe_http: u16,
    /// See [`Ports`].
    pub be_http: u16,
    /// See [`Ports`].
    pub sql: u16,
}

/// A running server. Everything ends when it is dropped; the state is in memory and ends with it.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    faces: Mutex<JoinSet<()>>,
}

impl Server {
    /// Starts it on loopback.
    ///
    /// # Errors
    /// If a port cannot be had.
    pub async fn start(options: Options) -> io::Result<Server> {
        let listen = async |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let (fe, be, sql) =
            (listen(options.fe_http).await?, listen(options.be_http).await?, listen(options.sql).await?);
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        let ports = Ports { fe_http: port(&fe)?, be_http: port(&be)?, sql: port(&sql)? };
        let store = Arc::new(Store::new(options.settings));
        let shared = Arc::new(Shared { store, ports, faults: Faults::default() });
        let faces = Mutex::new(serve(&shared, fe, be, sql));
        Ok(Server { shared, faces })
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.shared.ports
    }

    /// Its state.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Faults to order.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Closes every connection and refuses new ones; loads under way are lost. The state stays.
    pub async fn down(&self) {
        let mut faces = std::mem::take(&mut *self.faces.lock().unwrap_or_else(PoisonError::into_inner));
        faces.shutdown().await;
    }

    /// Listens again on the same ports.
    ///
    /// # Errors
    /// If somebody took a port meanwhile.
    pub async fn up(&self) -> io::Result<()> {
        let listen = async |port| {
            for _ in 0..50 {
                if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                    return Ok(listener);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
        };
        let Ports { fe_http, be_http, sql } = self.shared.ports;
        let (fe, be, sql) = (listen(fe_http).await?, listen(be_http).await?, listen(sql).await?);
        *self.faces.lock().unwrap_or_else(PoisonError::into_inner) = serve(&self.shared, fe, be, sql);
        Ok(())
    }
}

fn serve(shared: &Arc<Shared>, fe: TcpListener, be: TcpListener, sql: TcpListener) -> JoinSet<()> {
    let mut faces = JoinSet::new();
    faces.spawn(accept(fe, shared.clone(), true));
    faces.spawn(accept(be, shared.clone(), false));
    faces.spawn(mysql::serve(sql, shared.clone()));
    faces
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, frontend: bool) {
    // Owned here, so that ending this task closes every connection.
    let mut connections = JoinSet::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let shared = shared.clone();
        connections.spawn(async move {
            let connection = Connection::new(stream);
            let served = match frontend {
                true => http::frontend::serve(connection, shared).await,
                false => http::backend::serve(connection, shared).await,
            };
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
