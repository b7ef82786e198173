//! The HTTP faces: a frontend that redirects and a backend that loads.
//!
//! In: connections. Out: answers, and loads committed to the store.
//! Always: the frontend answers from the headers alone and never reads a body; the backend begins a load's transaction
//! when the headers are in, before the body.
//! Not here: SQL, what a body means (`crate::load`).
//! Start at `serve_frontend` and `serve_backend`.

mod answer;
mod backend;
mod frontend;
mod transaction;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) use wire::{Answer, Connection, Head, HeadLimits, Reply};

use crate::Shared;
use crate::fault::{Action, Call, Faults, Place};
use crate::store::Batch;
use transaction::BackendTxn;

/// `http_max_initial_line_length` and `http_max_header_size` of the frontend.
const FRONTEND_HEAD: HeadLimits = HeadLimits { line: 4096, headers: 32_768 };
/// What the backend takes; it has no documented limit.
const BACKEND_HEAD: HeadLimits = HeadLimits { line: 64 << 10, headers: 1 << 20 };
/// Error logs kept.
const ERROR_LOGS_MAX: usize = 1000;

/// One cluster of one or two frontends and one backend, as the HTTP faces see it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) shared: Arc<Shared>,
    /// The host written into `Location` and `ErrorURL`.
    pub(crate) host: String,
    /// Ports of the frontends; the first is `Ports::fe_http`.
    pub(crate) frontends: Vec<u16>,
    /// Which of them leads.
    pub(crate) leader: AtomicUsize,
    pub(crate) faults: Arc<Faults>,
    /// The backend refuses new loads: it is shutting down.
    pub(crate) shutting_down: AtomicBool,
    error_logs: Mutex<VecDeque<(String, String)>>,
    /// Transactions of the transaction interface that live in the backend's memory, by label.
    backend_txns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<BackendTxn>>>>,
    /// Labels whose backend the frontend remembers.
    coordinated: Mutex<VecDeque<String>>,
    /// Loads of transactions over several tables, by transaction.
    multi_loads: Mutex<HashMap<u64, Vec<Batch>>>,
}

impl Cluster {
    pub(crate) fn new(shared: Arc<Shared>, host: String, frontends: Vec<u16>, faults: Arc<Faults>) -> Cluster {
        Cluster {
            shared,
            host,
            frontends,
            leader: AtomicUsize::new(0),
            faults,
            shutting_down: AtomicBool::new(false),
            error_logs: Mutex::default(),
            backend_txns: Mutex::default(),
            coordinated: Mutex::default(),
            multi_loads: Mutex::default(),
        }
    }

    /// Loses what only the backend's memory holds, as its restart does.
    pub(crate) fn restart_backend(&self) {
        lock(&self.backend_txns).clear();
    }

    fn leader_port(&self) -> u16 {
        // Relaxed: a number that stands for itself.
        let leader = self.leader.load(Ordering::Relaxed);
        self.frontends.get(leader).copied().unwrap_or(self.shared.ports.fe_http)
    }

    /// Checks a user; the text is what the frontend says, `None` is fine.
    fn refused_user(&self, head: &Head, peer: &Connection) -> Option<String> {
        let settings = self.shared.store.settings();
        match head.basic_auth() {
            None => Some("Need auth information.".to_string()),
            Some((user, password)) if user == settings.user && password == settings.password => None,
            Some((user, _)) => Some(format!("Access denied for {user}@{}", peer.peer.ip())),
        }
    }

    /// Keeps error lines, and says where they can be read.
    fn keep_error_log(&self, txn_id: u64, lines: &[String]) -> Option<String> {
        if lines.is_empty() {
            return None;
        }
        let mut logs = lock(&self.error_logs);
        let name = format!("error_log_{txn_id:x}_{:x}", logs.len());
        logs.push_back((name.clone(), lines.join("\n") + "\n"));
        if logs.len() > ERROR_LOGS_MAX {
            logs.pop_front();
        }
        let port = self.shared.ports.be_http;
        Some(format!("http://{}:{port}/api/_load_error_log?file={name}", self.host))
    }

    fn error_log(&self, name: &str) -> Option<String> {
        lock(&self.error_logs).iter().find(|(kept, _)| kept == name).map(|(_, text)| text.clone())
    }

    /// Carries out the faults both faces share. `Err`: the call ends with this.
    async fn common_fault(&self, action: &Action, place: Place) -> Result<(), Reply> {
        match action {
            Action::Delay { ms } => {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                Ok(())
            }
            Action::Hang => Err(Reply::Hang),
            Action::Reset => Err(Reply::Reset),
            Action::HttpStatus { status: 401 } => Err(answer::unauthorized("Access denied").closing().into()),
            Action::HttpStatus { status } => {
                Err(answer::rest_failed(*status, "ordered by a fault of starrocks-standin").closing().into())
            }
            Action::Html { status } => {
                let page = "<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>";
                Err(Answer::new(*status, Some("text/html"), page).closing().into())
            }
            Action::Fail { message } if place == Place::Fe => Err(answer::frontend_failed(message).closing().into()),
            _ => Ok(()),
        }
    }

    fn fault(&self, call: Call, place: Place, table: Option<&str>) -> Option<Action> {
        self.faults.take(call, place, table)
    }
}

/// A panic in a holder leaves these maps whole: every change is one insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one frontend until dropped; dropping ends every connection.
pub(crate) async fn serve_frontend(listener: TcpListener, cluster: Arc<Cluster>, index: usize) {
    accept(listener, move |stream, peer| {
        let cluster = Arc::clone(&cluster);
        async move {
            let mut connection = Connection::new(stream, peer);
            while let Some(head) = connection.head(FRONTEND_HEAD).await? {
                let reply = frontend::handle(&cluster, index, &head, &connection).await;
                // The body, if any, stays unread: the connection is of no more use.
                let reply = match reply {
                    Reply::Answer(answer) if head.framing() != wire::Framing::Length(0) => answer.closing().into(),
                    other => other,
                };
                if !connection.reply(&head, reply).await? {
                    break;
                }
            }
            Ok(())
        }
    })
    .await;
}

/// Serves the backend until dropped; dropping ends every connection.
pub(crate) async fn serve_backend(listener: TcpListener, cluster: Arc<Cluster>) {
    accept(listener, move |stream, peer| {
        let cluster = Arc::clone(&cluster);
        async move {
            let mut connection = Connection::new(stream, peer);
            while let Some(head) = connection.head(BACKEND_HEAD).await? {
                let reply = backend::handle(&cluster, &head, &mut connection).await?;
                if !connection.reply(&head, reply).await? {
                    break;
                }
            }
            Ok(())
        }
    })
    .await;
}

/// Gives every connection its own task; they end with this function.
pub(crate) async fn accept<F, Fut>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream, std::net::SocketAddr) -> Fut,
    Fut: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "set TCP_NODELAY");
                }
                let serving = serve(stream, peer);
                connections.spawn(async move {
                    if let Err(error) = serving.await {
                        tracing::debug!(%peer, %error, "http connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept on an http port");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}
