//! How to reach a PostgreSQL server: libpq's connection parameters.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// One place where the server may be. Tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or address, and a port.
    Tcp(String, u16),
    /// The folder of a unix socket, and the port in the socket's name.
    Unix(PathBuf, u16),
}

/// libpq's `sslmode` (PostgreSQL documentation, 32.19 "SSL Support").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only if the server insists.
    Allow,
    /// TLS if the server offers it.
    #[default]
    Prefer,
    /// TLS, the certificate unchecked unless a root certificate is given (then as `VerifyCa`).
    Require,
    /// TLS, and the certificate's chain is checked.
    VerifyCa,
    /// TLS, and chain and host name are checked.
    VerifyFull,
}

/// libpq's `channel_binding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server offers it.
    #[default]
    Prefer,
    /// Refuse to log in without it.
    Require,
}

/// Everything needed to open a connection.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Where to try, in order. Never empty.
    pub hosts: Vec<Host>,
    /// Role.
    pub user: String,
    /// Password, if one is needed.
    pub password: Option<SecretString>,
    /// A file that holds the password; read again at each attempt, so that a rotated one is found.
    pub password_file: Option<PathBuf>,
    /// Database.
    pub database: String,
    /// TLS.
    pub sslmode: SslMode,
    /// Root certificates (PEM); the system's if `None`.
    pub sslrootcert: Option<PathBuf>,
    /// Client certificate (PEM).
    pub sslcert: Option<PathBuf>,
    /// Client key (PEM).
    pub sslkey: Option<PathBuf>,
    /// Channel binding.
    pub channel_binding: ChannelBinding,
    /// Longest time for one attempt at one host.
    pub connect_timeout: Duration,
    /// `application_name` of our sessions.
    pub application_name: String,
}
