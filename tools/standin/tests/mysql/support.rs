//! What the tests of the MySQL port share: a stand-in of their own, or the cluster `STARROCKS_URL` names.
//!
//! Always: a stand-in listens on loopback, on a port the system picks, and ends with its `Target`.

use std::net::Ipv4Addr;
use std::sync::Arc;

use mysql_async::{Conn, Opts, OptsBuilder};
use starrocks_standin::store::{Settings, Store};
use starrocks_standin::{Ports, Shared, mysql};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server to test against.
pub(crate) struct Target {
    host: String,
    port: u16,
    user: String,
    password: String,
    standin: Option<JoinHandle<()>>,
}

impl Target {
    /// The cluster `STARROCKS_URL` names, `starrocks://user:password@host:8030/?sql_port=9030`, else a fresh stand-in.
    pub(crate) async fn from_environment() -> Self {
        match std::env::var("STARROCKS_URL") {
            Ok(url) => {
                Self::real(&url).unwrap_or_else(|| panic!("STARROCKS_URL is not starrocks://user:password@host:port"))
            }
            Err(_) => Self::stand_in(Settings { password: "pass:word".to_owned(), ..Settings::default() }).await,
        }
    }

    fn real(url: &str) -> Option<Self> {
        let (login, place) = url.strip_prefix("starrocks://")?.rsplit_once('@')?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let host = place.split([':', '/', '?']).next()?.to_owned();
        let port = match place.split_once("sql_port=") {
            Some((_, port)) => port.split('&').next()?.parse().ok()?,
            None => 9030,
        };
        Some(Self { host, port, user: user.to_owned(), password: password.to_owned(), standin: None })
    }

    /// A fresh stand-in.
    pub(crate) async fn stand_in(settings: Settings) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (user, password) = (settings.user.clone(), settings.password.clone());
        let ports = Ports { fe_http: 8030, be_http: 8040, sql: port, control: 0 };
        let shared = Arc::new(Shared { store: Arc::new(Store::new(settings)), ports });
        let standin = Some(tokio::spawn(mysql::serve(listener, shared)));
        Self { host: Ipv4Addr::LOCALHOST.to_string(), port, user, password, standin }
    }

    /// Where it is.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Its MySQL port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether this is a cluster.
    pub(crate) fn is_real(&self) -> bool {
        self.standin.is_none()
    }

    /// How to connect. Nothing is turned off: the client may ask for variables as it likes.
    pub(crate) fn options(&self, database: Option<&str>) -> Opts {
        OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.clone()))
            .db_name(database)
            .prefer_socket(false)
            .into()
    }

    /// A connection.
    pub(crate) async fn connect(&self, database: Option<&str>) -> Conn {
        Conn::new(self.options(database)).await.expect("a connection")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(standin) = self.standin.take() {
            standin.abort();
        }
    }
}
