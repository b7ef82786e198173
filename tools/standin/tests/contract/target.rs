//! The server under test: a stand-in of the test's own, or the cluster `STARROCKS_URL` names.

use base64::Engine;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};
use starrocks_standin::store::Settings;
use starrocks_standin::{Options, Server};

use crate::client::{Response, request};

/// Where a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    /// The stand-in and every cluster.
    Anywhere,
    /// Needs a switch or a limit that only the stand-in has.
    StandIn,
}

pub(crate) struct Target {
    /// Host and port of the frontend.
    pub(crate) frontend: String,
    host: String,
    sql_port: u16,
    user: String,
    password: String,
    /// `None`: a real cluster.
    pub(crate) server: Option<Server>,
    /// A database of this target's own.
    pub(crate) database: String,
}

impl Target {
    pub(crate) async fn new() -> Target {
        Target::with(Settings { password: "pass:word".to_owned(), ..Settings::default() }).await
    }

    /// The stand-in gets the settings; a real cluster is as it is.
    pub(crate) async fn with(settings: Settings) -> Target {
        let database = format!("contract_{}_{:?}", std::process::id(), std::thread::current().id());
        let database: String = database.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let target = match std::env::var("STARROCKS_URL") {
            Ok(url) => Target::real(&url, database).expect("STARROCKS_URL is starrocks://user:password@host:port"),
            Err(_) => Target::stand_in(settings, database).await,
        };
        let database = target.database.clone();
        target.sql(&[&format!("DROP DATABASE IF EXISTS {database}"), &format!("CREATE DATABASE {database}")]).await;
        target
    }

    fn real(url: &str, database: String) -> Option<Target> {
        let (login, place) = url.strip_prefix("starrocks://")?.rsplit_once('@')?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let address = place.split(['/', '?']).next()?;
        let (host, port) = address.split_once(':').unwrap_or((address, "8030"));
        let sql_port = place.split_once("sql_port=").map_or(Some(9030), |(_, port)| port.parse().ok())?;
        Some(Target {
            frontend: format!("{host}:{port}"),
            host: host.to_owned(),
            sql_port,
            user: user.to_owned(),
            password: password.to_owned(),
            server: None,
            database,
        })
    }

    async fn stand_in(settings: Settings, database: String) -> Target {
        let (user, password) = (settings.user.clone(), settings.password.clone());
        let options = Options { settings, follower_port: Some(0), ..Options::default() };
        let server = Server::start(options).await.expect("start a stand-in");
        let ports = server.ports();
        Target {
            frontend: format!("127.0.0.1:{}", ports.fe_http),
            host: "127.0.0.1".to_owned(),
            sql_port: ports.sql,
            user,
            password,
            server: Some(server),
            database,
        }
    }

    /// Whether a row can be asked here.
    pub(crate) fn takes(&self, only: Only) -> bool {
        only == Only::Anywhere || self.server.is_some()
    }

    pub(crate) fn authorization(&self) -> String {
        self.authorization_of("")
    }

    /// With something behind the user's name.
    pub(crate) fn authorization_of(&self, suffix: &str) -> String {
        let coded = base64::prelude::BASE64_STANDARD.encode(format!("{}{suffix}:{}", self.user, self.password));
        format!("Basic {coded}")
    }

    async fn connect(&self) -> Conn {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.sql_port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.clone()))
            .prefer_socket(false);
        Conn::new(options).await.expect("connect to the MySQL port")
    }

    /// Runs statements; every one must succeed.
    pub(crate) async fn sql(&self, statements: &[&str]) {
        let mut conn = self.connect().await;
        for statement in statements {
            conn.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// The error of a statement that must fail.
    pub(crate) async fn refused(&self, statement: &str) -> String {
        let answer = self.connect().await.query_drop(statement).await;
        answer.expect_err(statement).to_string()
    }

    /// `CREATE TABLE` in the target's database; `rest` follows the name.
    pub(crate) async fn create(&self, table: &str, rest: &str) {
        let database = &self.database;
        self.sql(&[
            &format!("DROP TABLE IF EXISTS {database}.{table}"),
            &format!("CREATE TABLE {database}.{table} {rest} PROPERTIES ('replication_num' = '1')"),
        ])
        .await;
    }

    /// All rows by the first column, NULL as `NULL`.
    pub(crate) async fn rows(&self, table: &str) -> Vec<Vec<String>> {
        self.query(&format!("SELECT * FROM {}.{table} ORDER BY 1", self.database)).await
    }

    /// The rows of a query as text, NULL as `NULL`.
    pub(crate) async fn query(&self, query: &str) -> Vec<Vec<String>> {
        let text = |value: Value| match value {
            Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Value::NULL => "NULL".to_owned(),
            other => other.as_sql(true),
        };
        let rows: Vec<Row> = self.connect().await.query(query).await.unwrap_or_else(|e| panic!("{query}: {e}"));
        rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
    }

    /// A request to the frontend with the right credentials.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let authorization = self.authorization();
        let mut all = vec![("Authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        request(&self.frontend, method, path, &all, b"").await.expect("an answer of the frontend")
    }

    /// Follows redirects with empty bodies up to the backend, which gets `body`: its answer.
    pub(crate) async fn through(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let first = self.ask(method, path, &[headers, &[("Expect", "100-continue")]].concat()).await;
        if first.status != 307 {
            return first;
        }
        let (address, path) = first.location();
        let authorization = self.authorization();
        let mut all = vec![("Authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        request(&address, method, &path, &all, body).await.expect("an answer of the backend")
    }

    /// One Stream Load.
    pub(crate) async fn load(&self, table: &str, headers: &[(&str, &str)], body: &[u8]) -> serde_json::Value {
        let path = format!("/api/{}/{table}/_stream_load", self.database);
        let response = self.through("PUT", &path, headers, body).await;
        serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {}", response.body))
    }

    /// `state` of a label.
    pub(crate) async fn label_state(&self, label: &str) -> String {
        let path = format!("/api/{}/get_load_state?label={label}", self.database);
        let response = self.ask("GET", &path, &[]).await;
        let answer: serde_json::Value = serde_json::from_str(&response.body).expect("JSON");
        answer["state"].as_str().unwrap_or_default().to_owned()
    }
}
