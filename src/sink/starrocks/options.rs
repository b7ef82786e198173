//! What the sink needs to know, and the URL that says most of it.
//!
//! In: the text of `SINK_URL`. Out: its parts; merging them with other settings is `config`'s. Always: no error text
//! holds the password or a piece of it, also when the URL is so wrong that the password is not where it belongs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

use super::compress::Compression;
use super::policy::Policies;

/// A frontend's HTTP port if none is named (StarRocks: `http_port`).
pub const DEFAULT_HTTP_PORT: u16 = 8030;
/// A frontend's HTTPS port if none is named (StarRocks: `https_port`).
pub const DEFAULT_HTTPS_PORT: u16 = 8443;
/// The frontends' MySQL port if none is named (StarRocks: `query_port`).
pub const DEFAULT_SQL_PORT: u16 = 9030;

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
    /// `replication_num` of created tables. If `None`: 1 or 2 where the cluster has so few backends, else the
    /// server's default.
    pub replication_num: Option<u16>,
    /// Prefix of the audit columns; no audit columns if `None`, which implies hard deletes.
    pub audit_prefix: Option<String>,
    /// What becomes of deleted rows.
    pub delete_mode: DeleteMode,
    /// What to do about values the target column cannot hold.
    pub on_bad_value: Policies,
    /// How types are mapped where there is a choice.
    pub types: TypeRules,
    /// `timeout` of a load at the server; the client waits a little longer.
    pub load_timeout: Duration,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// How the bodies of loads are compressed.
    pub compression: Compression,
    /// Loads that may run at once, over all tables.
    pub parallelism: usize,
    /// Hosts besides the frontends' own that a redirect may name: exact names or addresses.
    pub redirect_allow: Vec<String>,
    /// Backend addresses to replace, `from` to `to`: each `host` or `host:port`. A `from` without port matches every
    /// port, a `to` without port keeps the port.
    pub redirect_map: Vec<(String, String)>,
    /// Root certificates (PEM) for https; the system's if `None`.
    pub tls_ca: Option<PathBuf>,
    /// Name of the pipeline; start of every label.
    pub pipeline: String,
}

impl Options {
    /// Whether deletes remove rows: asked for, or implied because there are no audit columns to mark them in.
    pub(super) fn hard_deletes(&self) -> bool {
        self.delete_mode == DeleteMode::Hard || self.audit_prefix.is_none()
    }

    /// The password as it is now. Trailing line ends of a file are not part of it.
    ///
    /// # Errors
    /// Those of reading the file.
    pub(super) fn current_password(&self) -> std::io::Result<SecretString> {
        match &self.password_file {
            None => Ok(self.password.clone()),
            Some(path) => {
                let text = SecretString::from(std::fs::read_to_string(path)?);
                Ok(SecretString::from(text.expose_secret().trim_end_matches(['\r', '\n'])))
            }
        }
    }
}

/// One frontend's HTTP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// Whether to speak https.
    pub https: bool,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// HTTP port.
    pub port: u16,
}

impl fmt::Display for Frontend {
    /// `host:port`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What becomes of deleted rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteMode {
    /// They stay, marked by the audit columns.
    Soft,
    /// They go.
    Hard,
}

/// Which type a created column gets where more than one could do. Columns that exist keep theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeRules {
    /// Exact decimals without declared precision.
    pub numeric: NumericAs,
    /// Documents.
    pub json: JsonAs,
    /// Arrays.
    pub array: ArrayAs,
    /// Bytes.
    pub bytea: ByteaAs,
}

/// What decimals without declared precision become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumericAs {
    /// VARCHAR: every number, as its digits.
    #[default]
    Varchar,
    /// DECIMAL of that many digits, of which so many stand after the point.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u16,
        /// Digits after the point.
        scale: u16,
    },
}

impl NumericAs {
    /// Reads `varchar` or `decimal(38,9)`.
    ///
    /// # Errors
    /// A clause that follows the setting's name.
    pub fn parse(text: &str) -> Result<NumericAs, String> {
        let lower: String = text.to_ascii_lowercase().split_whitespace().collect();
        if lower == "varchar" {
            return Ok(NumericAs::Varchar);
        }
        let digits = lower.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
        let (precision, scale) = digits
            .and_then(|digits| digits.split_once(','))
            .and_then(|(precision, scale)| Some((precision.parse().ok()?, scale.parse().ok()?)))
            .ok_or("is neither varchar nor decimal(digits,digits after the point)")?;
        if !(1..=38).contains(&precision) || scale > precision {
            return Err(
                "is a decimal that StarRocks does not have: 1 to 38 digits, no more of them after the point".into()
            );
        }
        Ok(NumericAs::Decimal { precision, scale })
    }
}

impl fmt::Display for NumericAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NumericAs::Varchar => f.write_str("varchar"),
            NumericAs::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
        }
    }
}

/// What documents become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonAs {
    /// JSON.
    #[default]
    Json,
    /// VARCHAR: the text as it is.
    Varchar,
}

/// What arrays become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArrayAs {
    /// JSON: a document of arrays.
    #[default]
    Json,
    /// ARRAY of the elements' type, where there is one; else JSON.
    Array,
    /// VARCHAR: the text as it is.
    Varchar,
}

/// What bytes become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteaAs {
    /// VARCHAR: `\\x` and hexadecimal digits.
    #[default]
    Varchar,
    /// VARBINARY: the bytes.
    Varbinary,
}

/// What a `SINK_URL` says; parts it does not say are `None`.
///
/// `starrocks://user:password@fe1:8030,fe2:8030/database?sql_port=9030`, `starrocks+https://…` or `?tls=true` for
/// https. The older `http://host:8030` and `https://host:8443` have the same parts and usually only the host.
/// User, password and database are percent-encoded; an IPv6 address stands in brackets.
#[derive(Clone, Debug)]
pub struct SinkUrl {
    /// The frontends in the order written. Never empty.
    pub frontends: Vec<Frontend>,
    /// `sql_port`.
    pub sql_port: Option<u16>,
    /// User.
    pub user: Option<String>,
    /// Password; empty if written as `user:@host`.
    pub password: Option<SecretString>,
    /// Database.
    pub database: Option<String>,
}

impl SinkUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// Every problem found, each a clause that follows the setting's name.
    pub fn parse(url: &str) -> Result<SinkUrl, Vec<String>> {
        let Some((scheme, rest)) = url.trim().split_once("://") else {
            return Err(vec!["has no scheme; write starrocks://user:password@host:8030/database".into()]);
        };
        let scheme_https = match scheme.to_ascii_lowercase().as_str() {
            "starrocks" | "http" => false,
            "starrocks+https" | "https" => true,
            _ => {
                return Err(vec!["has a scheme other than starrocks, starrocks+https, http and https".into()]);
            }
        };
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_end);
        // From here on a piece of the password could be taken for a host, path or parameter, and be told.
        if rest.contains('@') || rest.contains('#') {
            return Err(vec![
                "has a '/', '?', '#' or '@' where none belongs; in user, password and database write them %2F, %3F, \
                 %23 and %40"
                    .into(),
            ]);
        }
        let mut problems = Vec::new();
        let (userinfo, hosts) = match authority.rsplit_once('@') {
            Some((userinfo, hosts)) => (Some(userinfo), hosts),
            None => (None, authority),
        };
        let (user, password) = match userinfo.map(|text| text.split_once(':').unwrap_or((text, "\0"))) {
            None => (None, None),
            Some((user, "\0")) => (decoded("user", user, &mut problems), None),
            Some((user, password)) => {
                (decoded("user", user, &mut problems), decoded("password", password, &mut problems))
            }
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parameters = parameters(query, &mut problems);
        let https = match parameters.remove("tls").as_deref() {
            None => scheme_https,
            Some("true") if scheme.eq_ignore_ascii_case("http") => {
                problems.push("says http and tls=true; write https or starrocks".into());
                true
            }
            Some("true") => true,
            Some("false") if scheme_https => {
                problems.push("says https and tls=false".into());
                true
            }
            Some("false") => false,
            Some(_) => {
                problems.push("has a tls that is neither true nor false".into());
                false
            }
        };
        let sql_port = parameters.remove("sql_port").and_then(|text| match port(&text) {
            Some(port) => Some(port),
            None => {
                problems.push("has a sql_port that is not a number from 1 to 65535".into());
                None
            }
        });
        for name in parameters.keys() {
            problems.push(format!("has an unknown parameter {name:?}; there are sql_port and tls"));
        }
        let database = match path.strip_prefix('/').unwrap_or(path).trim_end_matches('/') {
            "" => None,
            name if name.contains('/') => {
                problems.push("has more than a database after the hosts".into());
                None
            }
            name => decoded("database", name, &mut problems),
        };
        let frontends = frontends(hosts, https, &mut problems);
        match problems.is_empty() {
            true => Ok(SinkUrl {
                frontends,
                sql_port,
                user: user.filter(|user| !user.is_empty()),
                password: password.map(SecretString::from),
                database,
            }),
            false => Err(problems),
        }
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0 && text.bytes().all(|b| b.is_ascii_digit()))
}

/// A percent-encoded part.
fn decoded(part: &str, text: &str, problems: &mut Vec<String>) -> Option<String> {
    let bad_escape = text
        .split('%')
        .skip(1)
        .any(|after| after.len() < 2 || !after.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()));
    if bad_escape {
        problems.push(format!("has a '%' in the {part} that no two hexadecimal digits follow; write it %25"));
        return None;
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Some(text.into_owned()),
        Err(_) => {
            problems.push(format!("has a {part} that is not UTF-8 once decoded"));
            None
        }
    }
}

fn parameters(query: &str, problems: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if parameters.insert(name.to_owned(), value.to_owned()).is_some() {
            problems.push(format!("has the parameter {name:?} twice"));
        }
    }
    parameters
}

fn frontends(hosts: &str, https: bool, problems: &mut Vec<String>) -> Vec<Frontend> {
    let mut frontends = Vec::new();
    for (number, text) in (1..).zip(hosts.split(',')) {
        let (host, port_text) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            Some((host, after)) => (host, after.strip_prefix(':').or((!after.is_empty()).then_some("?"))),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let default = if https { DEFAULT_HTTPS_PORT } else { DEFAULT_HTTP_PORT };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:%".contains(&b) || b >= 0x80;
        if host.is_empty() {
            problems.push(format!("has no name for host number {number}"));
        } else if !host.bytes().all(plain) {
            problems.push(format!("has a character in the name of host number {number} that no host name has"));
        } else if let Some(port) = port_text.map_or(Some(default), port) {
            frontends.push(Frontend { https, host: host.to_owned(), port });
        } else {
            problems.push(format!("has a port of host number {number} that is not a number from 1 to 65535"));
        }
    }
    frontends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decimals_become_is_read() {
        let decimal = |precision, scale| Ok(NumericAs::Decimal { precision, scale });
        let cases = [
            ("varchar", Ok(NumericAs::Varchar)),
            ("VARCHAR", Ok(NumericAs::Varchar)),
            ("decimal(38,9)", decimal(38, 9)),
            ("Decimal (10, 0)", decimal(10, 0)),
            ("decimal(38,38)", decimal(38, 38)),
            ("decimal(39,9)", Err("1 to 38 digits")),
            ("decimal(5,6)", Err("1 to 38 digits")),
            ("decimal(0,0)", Err("1 to 38 digits")),
            ("decimal(10)", Err("is neither")),
            ("decimal(-1,0)", Err("is neither")),
            ("text", Err("is neither")),
        ];
        for (text, want) in cases {
            match (NumericAs::parse(text), want) {
                (Ok(got), Ok(want)) => {
                    assert_eq!(got, want, "{text}");
                    assert_eq!(NumericAs::parse(&got.to_string()), Ok(got));
                }
                (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
                (got, want) => panic!("{text}: {got:?} where {want:?} was expected"),
            }
        }
    }

    fn shown(url: &str) -> String {
        match SinkUrl::parse(url) {
            Err(problems) => format!("! {}", problems.join("; ")),
            Ok(url) => format!(
                "{} https={} sql={:?} user={:?} password={:?} database={:?}",
                url.frontends.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                url.frontends[0].https,
                url.sql_port,
                url.user,
                url.password.as_ref().map(ExposeSecret::expose_secret),
                url.database
            ),
        }
    }

    #[test]
    fn urls_are_read() {
        let cases = [
            (
                "starrocks://root:s%40cret@fe1:8030,fe2:8031/shop?sql_port=9031",
                r#"fe1:8030,fe2:8031 https=false sql=Some(9031) user=Some("root") password=Some("s@cret") database=Some("shop")"#,
            ),
            ("http://starrocks:8030", "starrocks:8030 https=false sql=None user=None password=None database=None"),
            ("https://fe/", "fe:8443 https=true sql=None user=None password=None database=None"),
            (
                "starrocks+https://u:@[::1],fe/d%2Fb",
                r#"[::1]:8443,fe:8443 https=true sql=None user=Some("u") password=Some("") database=Some("d/b")"#,
            ),
            ("starrocks://u@fe?tls=true", r#"fe:8443 https=true sql=None user=Some("u") password=None database=None"#),
            (
                "starrocks://u:a@b:c@fe/d",
                r#"fe:8030 https=false sql=None user=Some("u") password=Some("a@b:c") database=Some("d")"#,
            ),
        ];
        for (url, want) in cases {
            assert_eq!(shown(url), want, "{url}");
        }
    }

    #[test]
    fn every_problem_is_told_and_never_the_password() {
        let cases = [
            ("fe:8030", "has no scheme"),
            ("mysql://u:hunter2@fe/d", "has a scheme other than"),
            ("starrocks://u:hunter2/x@fe/d", "where none belongs"),
            ("starrocks://u:hunter2?x=1@fe/d", "where none belongs"),
            ("starrocks://u:hunter2#x@fe/d", "where none belongs"),
            ("starrocks://root:hunter2", "port of host number 1"),
            ("starrocks://u:hunter2%zz@fe", "'%' in the password"),
            ("starrocks://u:hunter2%ff@fe", "not UTF-8"),
            ("starrocks://u:hunter2@fe:0,:1/a/b?x=1&sql_port=-1&tls=yes", "port of host number 1"),
            ("starrocks://u:hunter2@fe?sql_port=+9030", "sql_port that is not"),
            ("starrocks://u:hunter2@fe?port=1", r#"unknown parameter "port""#),
            ("starrocks://u:hunter2@fe?tls=true&tls=true", "twice"),
            ("http://u:hunter2@fe?tls=true", "says http and tls=true"),
            ("starrocks+https://u:hunter2@fe?tls=false", "says https and tls=false"),
            ("starrocks://u:hunter2@", "no name for host number 1"),
            ("starrocks://u:hunter2@a b", "that no host name has"),
        ];
        for (url, want) in cases {
            let shown = shown(url);
            assert!(shown.starts_with('!') && shown.contains(want), "{url}: {shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let many = SinkUrl::parse("starrocks://u:p@fe:0,:1/a/b?x=1&sql_port=-1&tls=yes").unwrap_err();
        assert_eq!(many.len(), 6, "{many:?}");
        let url = SinkUrl::parse("starrocks://u:hunter2@fe/d").unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
