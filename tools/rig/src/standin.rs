//! The stand-in for StarRocks, in this process.

use std::collections::BTreeMap;

use mysql_async::{Conn, OptsBuilder};
use starrocks_standin::fault::Faults;
use starrocks_standin::store::{CatalogError, LoadRecord, Settings};
use starrocks_standin::{Options, Server, StartError};

/// A row of the target as it is stored: the printed bytes of each column; `None` is NULL.
pub type Stored = BTreeMap<String, Option<Vec<u8>>>;

/// A running stand-in on free loopback ports.
#[derive(Debug)]
pub struct Standin(Server);

impl Standin {
    /// Starts one.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start() -> Result<Standin, StartError> {
        let settings = Settings { password: PASSWORD.to_owned(), ..Settings::default() };
        Server::start(Options { settings, ..Options::default() }).await.map(Standin)
    }

    /// A `SINK_URL`.
    pub fn url(&self, database: &str) -> String {
        let ports = self.0.ports();
        format!("starrocks://root:{PASSWORD}@127.0.0.1:{}/{database}?sql_port={}", ports.fe_http, ports.sql)
    }

    /// The password of its user `root`.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Its MySQL port.
    pub fn sql_port(&self) -> u16 {
        self.0.ports().sql
    }

    /// A connection to its MySQL port.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn connect(&self) -> Result<Conn, mysql_async::Error> {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.sql_port())
            .user(Some("root"))
            .pass(Some(PASSWORD))
            .prefer_socket(false)
            .max_allowed_packet(Some(32 << 20))
            .wait_timeout(Some(28_800));
        Conn::new(options).await
    }

    /// Faults to order.
    pub fn faults(&self) -> &Faults {
        self.0.faults()
    }

    /// Every committed load, in order.
    pub fn history(&self) -> Vec<LoadRecord> {
        self.0.history()
    }

    /// The rows of a table as they are stored, those marked as deleted among them. No conversion of a SELECT or of a
    /// client is in between.
    ///
    /// # Errors
    /// If there is no such table.
    pub fn stored(&self, database: &str, table: &str) -> Result<Vec<Stored>, CatalogError> {
        let (def, rows) = self.0.store().scan(database, table)?;
        let names = || def.columns.iter().map(|column| column.name.clone());
        Ok(rows.iter().map(|row| names().zip(row.iter().map(|cell| cell.print())).collect()).collect())
    }

    /// Changes how it behaves.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.0.store().change_settings(change);
    }

    /// Refuses every connection from now on.
    pub async fn down(&self) {
        self.0.down().await;
    }

    /// Listens again.
    pub async fn up(&self) {
        self.0.up().await;
    }
}

const PASSWORD: &str = "stand-in";
