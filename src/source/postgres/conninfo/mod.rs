//! How to reach a PostgreSQL server: libpq's connection parameters.
//!
//! In: a connection URI or a `key=value` string, and the `PG*` variables for what it lacks. Out: [`ConnectOptions`].
//! Always: a parameter has exactly libpq's meaning or is refused with a reason, so a connection is never weaker than
//! what was written; no text made here holds a password. Not here: opening the connection (`transport`, `login`).
//! Start at [`ConnectOptions::parse`]; `text` splits the string, `parameters` is the table of what each name means.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;

mod parameters;
pub(super) mod passfile;
mod text;

use parameters::Parameters;

/// PostgreSQL's port where none is named.
const DEFAULT_PORT: u16 = 5432;

/// How long one attempt at one address may take where nothing is said.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// `application_name` where none is named and before the pipeline's name is known.
const PRODUCT: &str = "sluicegate";

/// Where distributions put the server's unix socket: Debian and Red Hat, then PostgreSQL's own default.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// One place where the server may be. Tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or address, and a port.
    Tcp(String, u16),
    /// The folder of a unix socket, and the port in the socket's name.
    Unix(PathBuf, u16),
}

/// libpq's `sslmode` (PostgreSQL 18 documentation, 32.19 "SSL Support").
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
    /// A file that holds the password and nothing else; read again at each attempt, so that a rotated one is found.
    /// Wins over `password`.
    pub password_file: Option<PathBuf>,
    /// A libpq password file (`~/.pgpass`), looked up at each attempt if there is neither `password` nor
    /// `password_file`.
    pub passfile: Option<PathBuf>,
    /// Database.
    pub database: String,
    /// TLS.
    pub sslmode: SslMode,
    /// Root certificates (PEM); the system's if `None` and `sslmode` asks for a check.
    pub sslrootcert: Option<PathBuf>,
    /// Client certificate (PEM).
    pub sslcert: Option<PathBuf>,
    /// Client key (PEM).
    pub sslkey: Option<PathBuf>,
    /// Channel binding.
    pub channel_binding: ChannelBinding,
    /// Longest time for one attempt at one address, login included.
    pub connect_timeout: Duration,
    /// `application_name` of our sessions.
    pub application_name: String,
    /// Whether only a server that accepts writes will do (`target_session_attrs=read-write`).
    pub read_write: bool,
    /// What a person should know about these settings, one sentence each.
    pub notes: Vec<String>,
}

impl ConnectOptions {
    /// Reads a connection string as libpq does (PostgreSQL 18 documentation, 32.1.1 "Connection Strings"): a
    /// `postgresql://` or `postgres://` URI, or `key=value` pairs, or nothing. `env` looks up an environment variable;
    /// the `PG*` variables give what the string lacks (32.15 "Environment Variables"), then `~/.pgpass`
    /// and `~/.postgresql/` are looked at as libpq does.
    ///
    /// Stricter than libpq: a parameter given twice, an unencoded `@` or `#` that may belong to a password, and
    /// parameters that cannot be honoured are refused. Other defaults than libpq's: `connect_timeout` is 10 s, and
    /// without a host the usual unix sockets are looked for, then `localhost` is taken.
    ///
    /// # Errors
    /// Every problem found, one sentence each, without the password.
    pub fn parse(url: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<ConnectOptions, Vec<String>> {
        let mut given = Parameters::collect(url, env);
        let hosts = hosts(&mut given);
        let user = user(&mut given, env);
        let database = given.filled("dbname").unwrap_or_else(|| user.clone());
        let security = Security::read(&mut given, &hosts, env);
        let connect_timeout = connect_timeout(&mut given);
        let application_name = given.filled("application_name").unwrap_or_else(|| PRODUCT.to_owned());
        let read_write = given.filled("target_session_attrs").is_some_and(|wanted| wanted == "read-write");
        let password = given.filled("password").map(SecretString::from);
        let passfile = if password.is_none() { passfile(&mut given, env) } else { None };
        if !given.problems.is_empty() {
            return Err(given.problems);
        }
        Ok(ConnectOptions {
            hosts,
            user,
            password,
            password_file: None,
            passfile,
            database,
            sslmode: security.mode,
            sslrootcert: security.root,
            sslcert: security.cert,
            sslkey: security.key,
            channel_binding: security.binding,
            connect_timeout,
            application_name,
            read_write,
            notes: given.notes,
        })
    }

    /// Puts the pipeline's name into `application_name`, unless the user named one.
    #[must_use]
    pub fn for_pipeline(mut self, pipeline: &str) -> Self {
        if self.application_name == PRODUCT {
            self.application_name = format!("{PRODUCT}/{pipeline}");
        }
        self
    }

    /// Whether no network lies between: every host is a unix socket or a loopback address.
    pub fn is_local(&self) -> bool {
        self.hosts.iter().all(Host::is_local)
    }

    /// The connection as a URI without password and files: for logs and status.
    pub fn redacted(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(Host::in_uri).collect();
        let mut uri = format!("postgresql://{}@{}/{}", encode(&self.user), hosts.join(","), encode(&self.database));
        let mut mark = '?';
        let mut add = |name: &str, value: &str| {
            uri.extend([mark.to_string().as_str(), name, "=", value]);
            mark = '&';
        };
        if self.hosts.iter().any(|host| matches!(host, Host::Tcp(..))) {
            add("sslmode", self.sslmode.name());
        }
        if self.channel_binding != ChannelBinding::Prefer {
            add("channel_binding", self.channel_binding.name());
        }
        if self.read_write {
            add("target_session_attrs", "read-write");
        }
        uri
    }
}

impl Host {
    /// Whether no network lies between. `localhost` counts, as it does for every resolver worth the name.
    pub fn is_local(&self) -> bool {
        match self {
            Host::Unix(..) => true,
            Host::Tcp(name, _) => {
                name.eq_ignore_ascii_case("localhost")
                    || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
        }
    }

    /// As a person would write it: `db.example:5432`, `[::1]:5432`, `/var/run/postgresql/.s.PGSQL.5432`.
    pub(super) fn place(&self) -> String {
        match self {
            Host::Tcp(name, port) if name.contains(':') => format!("[{name}]:{port}"),
            Host::Tcp(name, port) => format!("{name}:{port}"),
            Host::Unix(..) => self.socket().map(|path| path.display().to_string()).unwrap_or_default(),
        }
    }

    /// The path of the unix socket; `None` for TCP.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        match self {
            Host::Tcp(..) => None,
            Host::Unix(folder, port) => Some(folder.join(format!(".s.PGSQL.{port}"))),
        }
    }

    fn in_uri(&self) -> String {
        match self {
            Host::Tcp(..) => self.place(),
            Host::Unix(folder, port) => format!("{}:{port}", encode(&folder.to_string_lossy())),
        }
    }
}

impl SslMode {
    /// Every mode, weakest first.
    const ALL: [SslMode; 6] =
        [SslMode::Disable, SslMode::Allow, SslMode::Prefer, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];

    /// libpq's word for it.
    pub fn name(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }

    /// Whether a connection without TLS is refused.
    pub(super) fn insists(self) -> bool {
        matches!(self, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull)
    }
}

impl ChannelBinding {
    const ALL: [ChannelBinding; 3] = [ChannelBinding::Disable, ChannelBinding::Prefer, ChannelBinding::Require];

    /// libpq's word for it.
    pub fn name(self) -> &'static str {
        match self {
            ChannelBinding::Disable => "disable",
            ChannelBinding::Prefer => "prefer",
            ChannelBinding::Require => "require",
        }
    }
}

/// The parameters that decide how safe the connection is; they are checked against each other.
struct Security {
    mode: SslMode,
    root: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    binding: ChannelBinding,
}

impl Security {
    fn read(given: &mut Parameters, hosts: &[Host], env: &dyn Fn(&str) -> Option<String>) -> Security {
        let named = given.one_of("sslmode", &SslMode::ALL, |mode| mode.name());
        let binding = given.one_of("channel_binding", &ChannelBinding::ALL, |mode| mode.name()).unwrap_or_default();
        let mut root = given.filled("sslrootcert").map(PathBuf::from);
        // As in libpq: the system's roots are public, so a chain alone would prove nothing about the host.
        let system = root.as_deref() == Some(Path::new("system"));
        let mode = named.unwrap_or(if system { SslMode::VerifyFull } else { SslMode::default() });
        if system {
            root = None;
            if mode != SslMode::VerifyFull {
                given.problem("sslrootcert=system needs sslmode=verify-full");
            }
        } else if root.is_none() {
            root = at_home(env, "root.crt");
        }
        let cert = given.filled("sslcert").map(PathBuf::from).or_else(|| at_home(env, "postgresql.crt"));
        let key = given.filled("sslkey").map(PathBuf::from).or_else(|| at_home(env, "postgresql.key"));
        if cert.is_some() != key.is_some() {
            given.problem("a client certificate needs both sslcert and sslkey");
        }
        let sockets_only = hosts.iter().all(|host| matches!(host, Host::Unix(..)));
        if sockets_only && !hosts.is_empty() && named.is_some_and(SslMode::insists) {
            given.problem(
                "sslmode asks for TLS, but there is none over a unix socket: leave sslmode out, or name a host",
            );
        }
        if binding == ChannelBinding::Require && (mode == SslMode::Disable || sockets_only) {
            given.problem("channel_binding=require needs TLS");
        }
        if named.is_none() && !system && !hosts.iter().all(Host::is_local) {
            given.notes.push(
                "sslmode is not set, so TLS is used if the server offers it and its certificate is not checked: set \
                 sslmode=verify-full"
                    .to_owned(),
            );
        }
        Security { mode, root, cert, key, binding }
    }
}

/// A file of `~/.postgresql`, if it is there; libpq takes these without being told.
fn at_home(env: &dyn Fn(&str) -> Option<String>, file: &str) -> Option<PathBuf> {
    let path = Path::new(&env("HOME")?).join(".postgresql").join(file);
    path.is_file().then_some(path)
}

fn hosts(given: &mut Parameters) -> Vec<Host> {
    let address = given.filled("hostaddr");
    let named = match (given.filled("host"), address) {
        (Some(_), Some(_)) => {
            given.problem("hostaddr beside host is not supported: give the address as the host");
            return Vec::new();
        }
        (named, address) => named.or(address),
    };
    let list = named.unwrap_or_default();
    let names: Vec<&str> = list.split(',').collect();
    let Some(ports) = ports(given, names.len()) else {
        return Vec::new();
    };
    let mut hosts = Vec::new();
    for (name, port) in names.into_iter().zip(ports) {
        match host(name, port) {
            Ok(host) => hosts.push(host),
            Err(problem) => given.problem(format!("host {}: {problem}", hosts.len() + 1)),
        }
    }
    hosts
}

fn host(name: &str, port: u16) -> Result<Host, &'static str> {
    if name.is_empty() {
        return Ok(default_host(port));
    }
    if name.starts_with('/') {
        return Ok(Host::Unix(PathBuf::from(name), port));
    }
    if name.starts_with('@') {
        return Err("abstract unix sockets are not supported");
    }
    if name.contains(':') {
        let address = name.split_once('%').map_or(name, |(address, _zone)| address);
        let known = address.parse::<Ipv6Addr>().is_ok();
        return if known { Ok(Host::Tcp(name.to_owned(), port)) } else { Err("it is not an IPv6 address") };
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#[]@\\\"'<>=&%".contains(c);
    if name.len() > 253 || name.contains(odd) {
        return Err("it is not a host name");
    }
    Ok(Host::Tcp(name.to_owned(), port))
}

fn default_host(port: u16) -> Host {
    let sockets = SOCKET_FOLDERS.iter().map(|folder| Host::Unix(PathBuf::from(folder), port));
    let exists = |host: &Host| host.socket().is_some_and(|path| path.exists());
    let mut found = sockets.filter(exists);
    found.next().unwrap_or_else(|| Host::Tcp("localhost".to_owned(), port))
}

/// One port for each host: one for all, or as many as there are hosts; an empty one is the default.
fn ports(given: &mut Parameters, hosts: usize) -> Option<Vec<u16>> {
    let list = given.filled("port").unwrap_or_default();
    let mut ports = Vec::new();
    for (at, text) in list.split(',').enumerate() {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u16>() {
            Ok(port) if digits && port > 0 => ports.push(port),
            _ if text.is_empty() => ports.push(DEFAULT_PORT),
            // The text itself stays out: with a forgotten host it is the password.
            _ => {
                let from = given.origin("port");
                given.problem(format!("{from} {} is not a number from 1 to 65535", at + 1));
                return None;
            }
        }
    }
    match ports.len() {
        1 => ports.resize(hosts, ports[0]),
        count if count != hosts => {
            given.problem(format!("{count} ports are given for {hosts} hosts: give one for all, or one for each"));
            return None;
        }
        _ => {}
    }
    Some(ports)
}

fn user(given: &mut Parameters, env: &dyn Fn(&str) -> Option<String>) -> String {
    given.filled("user").or_else(|| system_user(env)).unwrap_or_else(|| {
        given.problem("no user is given, and the name of the system's user is not known");
        String::new()
    })
}

/// The name of the user this process runs as, which libpq takes as the role where none is named.
fn system_user(env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").map(|process| process.uid()).ok();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = uid.and_then(|uid| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        })
    });
    named.or_else(|| env("USER")).filter(|name| !name.is_empty())
}

fn connect_timeout(given: &mut Parameters) -> Duration {
    let Some(text) = given.filled("connect_timeout") else {
        return DEFAULT_CONNECT_TIMEOUT;
    };
    match text.parse::<u32>() {
        Ok(seconds @ 1..) => Duration::from_secs(seconds.into()),
        _ => {
            let from = given.origin("connect_timeout");
            given.problem(format!(
                "{from} is not a whole number of seconds from 1 on (waiting for ever is not offered)"
            ));
            DEFAULT_CONNECT_TIMEOUT
        }
    }
}

fn passfile(given: &mut Parameters, env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let named = given.filled("passfile").map(PathBuf::from);
    let path = match &named {
        Some(path) => path.clone(),
        None => Path::new(&env("HOME")?).join(".pgpass"),
    };
    match passfile::check(&path) {
        Ok(()) => Some(path),
        Err(passfile::Unusable::Missing) if named.is_none() => None,
        Err(problem) => {
            given.notes.push(format!("the password file {} is ignored: {problem}", path.display()));
            // Kept all the same: it is looked at again at each attempt, and may have been put right by then.
            Some(path)
        }
    }
}

/// Percent-encodes what a URI cannot hold as it is.
fn encode(text: &str) -> String {
    const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &PLAIN).to_string()
}

#[cfg(test)]
mod tests;
