//! A whole server in one value: ports, tasks, state.
//!
//! In: `Options`. Out: a `Server` that listens on loopback until it is dropped.
//! Always: port 0 means a free port, and the ports chosen can be asked; a server that is down refuses connections on the
//! same ports it takes up again.
//! Start at `Server::start`.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::control;
use crate::fault::Faults;
use crate::http::{Cluster, serve_backend, serve_frontend};
use crate::store::{CatalogError, JournalError, LoadRecord, Settings, Store};
use crate::{Ports, Shared, mysql};

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Behaviour.
    pub settings: Settings,
    /// The address all ports listen on.
    pub bind: String,
    /// The host written into `Location` and `ErrorURL`.
    pub advertised_host: String,
    /// The frontend's HTTP port; 0 = any free one, as for the ports below.
    pub fe_port: u16,
    /// The backend's HTTP port.
    pub be_port: u16,
    /// The MySQL port.
    pub sql_port: u16,
    /// The control port.
    pub control_port: u16,
    /// A second frontend that follows.
    pub follower_port: Option<u16>,
    /// Where state is kept; `None` = in memory only.
    pub data: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            settings: Settings::default(),
            bind: "127.0.0.1".to_string(),
            advertised_host: "127.0.0.1".to_string(),
            fe_port: 0,
            be_port: 0,
            sql_port: 0,
            control_port: 0,
            follower_port: None,
            data: None,
        }
    }
}

/// A server that does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port.
    #[error("listen on {address} for {face}")]
    Listen {
        /// Which face.
        face: &'static str,
        /// Where.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The state on disk.
    #[error("read the state kept on disk")]
    Data(#[from] JournalError),
}

/// A running server. Dropping it closes every port and connection.
#[derive(Debug)]
pub struct Server {
    cluster: Arc<Cluster>,
    switch: Arc<Switch>,
    tasks: Vec<JoinHandle<()>>,
}

/// Takes the faces down and up again.
#[derive(Debug)]
pub(crate) struct Switch {
    wanted: watch::Sender<bool>,
    /// One per face that can be taken down: whether it listens.
    listening: Vec<watch::Receiver<bool>>,
}

impl Switch {
    /// Returns when every face has closed its port and connections, or listens again.
    pub(crate) async fn set(&self, up: bool) {
        self.wanted.send_replace(up);
        for listening in &self.listening {
            // A face that is gone listens no more; nothing is left to wait for.
            let _gone = listening.clone().wait_for(|now| *now == up).await.is_err();
        }
    }
}

impl Server {
    /// Binds the ports and starts to serve.
    pub async fn start(options: Options) -> Result<Server, StartError> {
        let frontend = listen(&options, options.fe_port, "the frontend").await?;
        let backend = listen(&options, options.be_port, "the backend").await?;
        let sql = listen(&options, options.sql_port, "sql").await?;
        let control = listen(&options, options.control_port, "control").await?;
        let follower = match options.follower_port {
            Some(port) => Some(listen(&options, port, "the following frontend").await?),
            None => None,
        };
        let ports =
            Ports { fe_http: port(&frontend), be_http: port(&backend), sql: port(&sql), control: port(&control) };
        let store = match &options.data {
            Some(folder) => Store::open(options.settings, folder)?,
            None => Store::new(options.settings),
        };
        let shared = Arc::new(Shared { store: Arc::new(store), ports });
        let frontends = std::iter::once(ports.fe_http).chain(follower.as_ref().map(port)).collect();
        let cluster = Arc::new(Cluster::new(Arc::clone(&shared), options.advertised_host, frontends, Arc::default()));
        let (wanted, _) = watch::channel(true);
        let mut faces = Faces { wanted: wanted.clone(), listening: Vec::new(), tasks: Vec::new() };
        faces.add(frontend, &cluster, |listener, cluster| serve_frontend(listener, cluster, 0));
        faces.add(backend, &cluster, serve_backend);
        faces.add(sql, &shared, mysql::serve);
        if let Some(follower) = follower {
            faces.add(follower, &cluster, |listener, cluster| serve_frontend(listener, cluster, 1));
        }
        let switch = Arc::new(Switch { wanted, listening: faces.listening });
        let mut tasks = faces.tasks;
        tasks.push(tokio::spawn(control::serve(control, Arc::clone(&cluster), Arc::clone(&switch))));
        Ok(Server { cluster, switch, tasks })
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.cluster.shared.ports
    }

    /// The port of the second frontend, if there is one.
    pub fn follower_port(&self) -> Option<u16> {
        self.cluster.frontends.get(1).copied()
    }

    /// `starrocks://user@host:port?sql_port=..`, without the password.
    pub fn url(&self) -> String {
        let ports = self.ports();
        let user = self.store().settings().user;
        format!("starrocks://{user}@{}:{}?sql_port={}", self.cluster.host, ports.fe_http, ports.sql)
    }

    /// The state.
    pub fn store(&self) -> &Arc<Store> {
        &self.cluster.shared.store
    }

    /// Faults to order.
    pub fn faults(&self) -> &Faults {
        &self.cluster.faults
    }

    /// Committed loads in commit order.
    pub fn history(&self) -> Vec<LoadRecord> {
        self.store().history()
    }

    /// All rows as SELECT prints them, in key order; `None` is NULL.
    pub fn rows(&self, database: &str, table: &str) -> Result<Vec<Vec<Option<String>>>, CatalogError> {
        let (_, rows) = self.store().scan(database, table)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(rows.iter().map(|row| row.iter().map(|cell| cell.print().map(text)).collect()).collect())
    }

    /// Closes every port but the control port, and every connection, until `up`.
    pub async fn down(&self) {
        self.switch.set(false).await;
    }

    /// Listens again on the same ports.
    pub async fn up(&self) {
        self.switch.set(true).await;
    }

    /// The backend refuses new loads (`true`), as while it shuts down.
    pub fn set_shutting_down(&self, shutting_down: bool) {
        // Relaxed: a switch that stands for itself.
        self.cluster.shutting_down.store(shutting_down, Ordering::Relaxed);
    }

    /// The backend forgets what only its memory holds: transactions not prepared yet.
    pub fn restart_backend(&self) {
        self.cluster.restart_backend();
    }

    /// Makes the frontend of this number (0 or 1) the leader.
    pub fn set_leader(&self, frontend: usize) {
        // Relaxed: a number that stands for itself.
        self.cluster.leader.store(frontend, Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(options: &Options, port: u16, face: &'static str) -> Result<TcpListener, StartError> {
    let address = format!("{}:{port}", options.bind);
    TcpListener::bind(&address).await.map_err(|source| StartError::Listen { face, address, source })
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

struct Faces {
    wanted: watch::Sender<bool>,
    listening: Vec<watch::Receiver<bool>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Faces {
    /// Starts a face that can be taken down: serving stops by being dropped, and begins again on the same port.
    fn add<T, F, Fut>(&mut self, listener: TcpListener, context: &Arc<T>, serve: F)
    where
        T: Send + Sync + 'static,
        F: Fn(TcpListener, Arc<T>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let (listens, listening) = watch::channel(true);
        let mut wanted = self.wanted.subscribe();
        let context = Arc::clone(context);
        let address = listener.local_addr();
        let task = async move {
            let mut listener = Some(listener);
            loop {
                if let Some(listener) = listener.take() {
                    listens.send_replace(true);
                    tokio::select! {
                        () = serve(listener, Arc::clone(&context)) => return,
                        changed = wanted.wait_for(|up| !*up) => if changed.is_err() { return },
                    }
                }
                listens.send_replace(false);
                if wanted.wait_for(|up| *up).await.is_err() {
                    return;
                }
                listener = rebind(&address).await;
            }
        };
        self.tasks.push(tokio::spawn(task));
        self.listening.push(listening);
    }
}

/// The same port again; connections of the past may hold it for a moment.
async fn rebind(address: &io::Result<std::net::SocketAddr>) -> Option<TcpListener> {
    let address = address.as_ref().ok()?;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(error) => {
                tracing::warn!(%address, %error, "listen again");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}
