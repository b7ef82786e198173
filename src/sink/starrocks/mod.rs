//! StarRocks as a sink, by Stream Load over HTTP and DDL over its MySQL port.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// What the sink needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Frontends to try in turn. Never empty.
    pub frontends: Vec<Frontend>,
    /// Port of the MySQL protocol on the frontends.
    pub sql_port: u16,
    /// User.
    pub user: String,
    /// Password; may be empty.
    pub password: SecretString,
    /// A file that holds the password; read again at each attempt, so that a rotated one is found.
    pub password_file: Option<PathBuf>,
    /// Database that holds the target tables.
    pub database: String,
    /// Whether a missing database and missing tables are created.
    pub create_tables: bool,
    /// `replication_num` of created tables; the server's default if `None`.
    pub replication_num: Option<u16>,
    /// Prefix of the audit columns; no audit columns if `None`, which implies hard deletes.
    pub audit_prefix: Option<String>,
    /// What becomes of deleted rows.
    pub delete_mode: DeleteMode,
    /// What to do about values the target column cannot hold.
    pub on_bad_value: BadValue,
    /// `timeout` of a load at the server; the client waits a little longer.
    pub load_timeout: Duration,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Loads that may run at once, over all tables.
    pub parallelism: usize,
    /// Hosts besides the frontends' own that a redirect may name: exact names or addresses.
    pub redirect_allow: Vec<String>,
    /// Backend addresses to replace: `from` host to `to` host, ports kept.
    pub redirect_map: Vec<(String, String)>,
    /// Root certificates (PEM) for https; the system's if `None`.
    pub tls_ca: Option<PathBuf>,
    /// Name of the pipeline; start of every label.
    pub pipeline: String,
}

/// One frontend's HTTP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// Whether to speak https.
    pub https: bool,
    /// Name or address.
    pub host: String,
    /// HTTP port.
    pub port: u16,
}

/// What becomes of deleted rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// They stay, marked by the audit columns.
    Soft,
    /// They go.
    Hard,
}

/// What to do about a value its target column cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// The table waits for a person.
    Block,
    /// It becomes NULL, and is counted.
    Null,
}
