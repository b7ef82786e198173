//! Logs in: hosts in turn, TLS or not as `sslmode` allows, authentication, and the session's settings.
//!
//! In: [`ConnectOptions`]. Out: a [`Session`] that is ready for a query. Always: replication and ordinary connections
//! come through here, so both have the same TLS, the same checks and the same settings; a password never leaves in
//! clear text over a network; with `channel_binding=require` nothing is sent that a man in the middle could use.
//! Start at [`connect`].

use std::borrow::Cow;
use std::collections::HashMap;

use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, DataRowBody, Message};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret, SecretString};

use super::conninfo::{ChannelBinding, ConnectOptions, Host, SslMode, passfile};
use super::sqlstate::{self, Asked, ServerError};
use super::transport::{self, Address, Channel, ChannelError, Encryption, Failure, Incoming, Then};
use crate::model::{Class, Reason};

/// Settings of every session, so that neither role nor database nor server can change what values look like, end our
/// work, or have it wait for a standby that does not answer: known to every version since 12.
const SETTINGS: &str = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 \
     -c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=3 -c bytea_output=hex \
     -c lc_monetary=C -c standard_conforming_strings=on -c synchronous_commit=local -c search_path=";

/// Lets our transactions write where role, database or server make them read-only by default. Not among [`SETTINGS`],
/// because what the server tells of it at login answers `target_session_attrs=read-write`.
const WRITABLE: &str = "SET default_transaction_read_only = off";

/// Settings that came later, with the version they came with; an older server would refuse the login over them.
const LATER_SETTINGS: &[(u32, &str)] = &[(14, "SET idle_session_timeout = 0"), (17, "SET transaction_timeout = 0")];

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Logical replication: `replication=database`.
    Replication,
    /// SQL.
    Sql,
}

/// A connection that is logged in and waits for a query.
#[derive(Debug)]
pub(super) struct Session {
    /// The connection.
    pub(super) channel: Channel,
    /// What the server said about itself: `server_version`, `in_hot_standby` and others.
    pub(super) parameters: HashMap<String, String>,
    /// Process id and secret key, with which a query can be cancelled.
    pub(super) key: Option<(i32, i32)>,
}

/// Rows of a simple query, each value as text.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// Opens a session at the first host that lets us.
///
/// As in libpq, the next address or host is tried if one cannot be reached, is starting up, or is read-only where
/// `target_session_attrs` wants it writable; a login that the server refuses ends the search.
///
/// # Errors
/// Why the last place failed, with what was wrong at the others in its message.
pub(super) async fn connect(
    options: &ConnectOptions,
    purpose: Purpose,
    application_name: &str,
) -> Result<Session, Reason> {
    let mut failed: Vec<Reason> = Vec::new();
    for host in &options.hosts {
        let addresses = match transport::addresses(options, host).await {
            Ok(addresses) => addresses,
            Err(failure) => {
                failed.push(*failure.reason);
                continue;
            }
        };
        for address in &addresses {
            let attempt = Attempt { options, host, address, purpose, application_name };
            match attempt.run().await {
                Ok(session) => return Ok(session),
                Err(failure) => {
                    failed.push(*failure.reason);
                    if failure.then != Then::NextPlace {
                        return Err(together(failed));
                    }
                }
            }
        }
    }
    Err(together(failed))
}

/// One reason for all that failed: the one that a person can do something about, else the last.
fn together(failed: Vec<Reason>) -> Reason {
    let all: Vec<&str> = failed.iter().map(|reason| reason.message.as_str()).collect();
    let message = all.join("; ");
    let telling = failed.iter().rev().find(|reason| reason.class != Class::Retry).or(failed.last());
    match telling {
        Some(reason) => Reason { message, ..reason.clone() },
        None => *Failure::unreachable("the source", "the name has no address").reason,
    }
}

/// Which ways to encrypt are tried at one address, in order (PostgreSQL 18 documentation, table 32.1).
fn encryptions(mode: SslMode, address: &Address) -> &'static [Encryption] {
    use Encryption::{Always, IfOffered, Never};
    match (address, mode) {
        (Address::Unix(_), _) | (_, SslMode::Disable) => &[Never],
        (_, SslMode::Allow) => &[Never, Always],
        (_, SslMode::Prefer) => &[IfOffered, Never],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[Always],
    }
}

/// One address.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    options: &'a ConnectOptions,
    host: &'a Host,
    address: &'a Address,
    purpose: Purpose,
    application_name: &'a str,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Session, Failure> {
        let limit = self.options.connect_timeout;
        let mut failed: Vec<Reason> = Vec::new();
        for encryption in encryptions(self.options.sslmode, self.address) {
            let result = tokio::time::timeout(limit, self.once(*encryption)).await.unwrap_or_else(|_| {
                let why = format!("no answer within {} s", limit.as_secs());
                Err(Failure::unreachable(&self.host.place(), why))
            });
            match result {
                Ok(session) => {
                    session.warn_if_weaker(&failed);
                    return Ok(session);
                }
                Err(failure) => {
                    failed.push(*failure.reason);
                    if failure.then != Then::OtherEncryption {
                        return Err(Failure { reason: together(failed).into(), then: failure.then });
                    }
                }
            }
        }
        // A server without the wanted TLS may have a neighbour with it; one that refused the login has decided.
        let reason = Box::new(together(failed));
        let then = if reason.code == "SOURCE_AUTH" { Then::GiveUp } else { Then::NextPlace };
        Err(Failure { reason, then })
    }

    async fn once(&self, encryption: Encryption) -> Result<Session, Failure> {
        let channel = transport::open(self.options, self.host, self.address, encryption).await?;
        let password = Password { options: self.options, host: self.host };
        let login =
            Login { channel, binding: self.options.channel_binding, password, scram: Scram::None, asked: false };
        let mut session = login.run(&self.startup()).await?;
        // Before `settle`, which makes our own transactions writable whatever the default is.
        if self.options.read_write && session.read_only().await.map_err(give_up)? {
            let message = format!("{} is read-only", session.channel.place);
            let remedy = "Give the address of the primary.";
            let reason = Reason::new("SOURCE_IS_STANDBY", Class::Wait, &session.channel.place, message, remedy);
            return Err(Failure { reason: reason.into(), then: Then::NextPlace });
        }
        session.settle(self.purpose).await.map_err(give_up)?;
        Ok(session)
    }

    fn startup(&self) -> Vec<(&str, &str)> {
        let mut parameters = vec![
            ("user", self.options.user.as_str()),
            ("database", &self.options.database),
            ("client_encoding", "UTF8"),
            ("application_name", self.application_name),
            ("options", SETTINGS),
        ];
        if self.purpose == Purpose::Replication {
            parameters.push(("replication", "database"));
        }
        parameters
    }
}

fn give_up(reason: Reason) -> Failure {
    Failure { reason: reason.into(), then: Then::GiveUp }
}

/// Where the password comes from, looked up anew at each attempt.
struct Password<'a> {
    options: &'a ConnectOptions,
    host: &'a Host,
}

impl Password<'_> {
    fn find(&self, place: &str) -> Result<Cow<'_, SecretString>, Failure> {
        let options = self.options;
        let remedy = "Set the password, or name a file that holds it.";
        if let Some(path) = &options.password_file {
            return passfile::whole(path).map(Cow::Owned).map_err(|error| {
                auth(place, format!("the password file {} cannot be used: {error}", path.display()), remedy)
            });
        }
        if let Some(password) = &options.password {
            return Ok(Cow::Borrowed(password));
        }
        let looked_up = options.passfile.as_ref().map(|path| {
            passfile::find(path, self.host, &options.database, &options.user).map_err(|error| (path, error))
        });
        match looked_up {
            Some(Ok(Some(password))) => Ok(Cow::Owned(password)),
            Some(Err((path, error))) => {
                let message = format!("the server asks for a password, and {} is not read: {error}", path.display());
                Err(auth(place, message, remedy))
            }
            Some(Ok(None)) | None => Err(auth(place, "the server asks for a password, and none is given", remedy)),
        }
    }
}

fn auth(place: &str, message: impl std::fmt::Display, remedy: &str) -> Failure {
    give_up(Reason::new("SOURCE_AUTH", Class::Wait, place, format!("no login at {place}: {message}"), remedy))
}

/// How far SCRAM has come.
enum Scram {
    /// Not asked for.
    None,
    /// The server has yet to prove that it knows the password.
    Underway { exchange: Box<ScramSha256>, bound: bool },
    /// It has.
    Done { bound: bool },
}

/// A login under way.
struct Login<'a> {
    channel: Channel,
    binding: ChannelBinding,
    password: Password<'a>,
    scram: Scram,
    /// Whether the server has asked for anything. Before that, a refusal is about the way we came.
    asked: bool,
}

impl Login<'_> {
    async fn run(mut self, startup: &[(&str, &str)]) -> Result<Session, Failure> {
        self.send(|buffer| frontend::startup_message(startup.iter().copied(), buffer)).await?;
        while !self.authenticated().await? {}
        let mut parameters = HashMap::new();
        let mut key = None;
        loop {
            match self.next().await? {
                Message::ParameterStatus(status) => {
                    if let (Ok(name), Ok(value)) = (status.name(), status.value()) {
                        parameters.insert(name.to_owned(), value.to_owned());
                    }
                }
                Message::BackendKeyData(data) => key = Some((data.process_id(), data.secret_key())),
                Message::ReadyForQuery(_) => return Ok(Session { channel: self.channel, parameters, key }),
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// Answers one request of the server; true once it lets us in.
    async fn authenticated(&mut self) -> Result<bool, Failure> {
        let message = self.next().await?;
        if self.binding == ChannelBinding::Require {
            self.insist_on_binding(&message)?;
        }
        match message {
            Message::AuthenticationOk => {
                return match self.scram {
                    Scram::Underway { .. } => Err(self.auth("the server ended SCRAM without proving itself")),
                    Scram::None | Scram::Done { .. } => Ok(true),
                };
            }
            Message::AuthenticationCleartextPassword => {
                if !self.channel.encrypted() && !self.channel.local {
                    return Err(auth(
                        &self.channel.place,
                        "the server wants the password in clear text over an unencrypted connection",
                        "Use TLS (sslmode=verify-full), or scram-sha-256 in the server's pg_hba.conf.",
                    ));
                }
                let password = self.password.find(&self.channel.place)?.into_owned();
                self.send(|buffer| frontend::password_message(password.expose_secret().as_bytes(), buffer)).await?;
            }
            Message::AuthenticationMd5Password(body) => {
                let password = self.password.find(&self.channel.place)?.into_owned();
                let user = self.password.options.user.as_bytes();
                let hash = md5_hash(user, password.expose_secret().as_bytes(), body.salt());
                self.send(|buffer| frontend::password_message(hash.as_bytes(), buffer)).await?;
            }
            Message::AuthenticationSasl(body) => self.scram_first(&body).await?,
            Message::AuthenticationSaslContinue(body) => self.scram_next(body.data()).await?,
            Message::AuthenticationSaslFinal(body) => self.scram_final(body.data())?,
            Message::AuthenticationGss | Message::AuthenticationGssContinue(_) => return Err(self.method("GSSAPI")),
            Message::AuthenticationSspi => return Err(self.method("SSPI")),
            Message::AuthenticationKerberosV5 => return Err(self.method("Kerberos V5")),
            Message::AuthenticationScmCredential => return Err(self.method("SCM credentials")),
            _ => return Err(self.unexpected()),
        }
        self.asked = true;
        Ok(false)
    }

    /// With `channel_binding=require` every way in but SCRAM-SHA-256-PLUS is refused before anything is sent.
    fn insist_on_binding(&self, message: &Message) -> Result<(), Failure> {
        let bound = match (&self.scram, message) {
            (_, Message::AuthenticationSasl(body)) => offers(body, SCRAM_SHA_256_PLUS),
            (Scram::Underway { bound, .. } | Scram::Done { bound }, _) => *bound,
            (Scram::None, _) => false,
        };
        if bound && self.channel.end_point.is_some() {
            return Ok(());
        }
        let why = match (self.channel.encrypted(), self.channel.end_point.is_some()) {
            (false, _) => "the connection has no TLS",
            (true, false) => "the server's certificate is signed in a way that channel binding is not defined for",
            (true, true) => "the server does not ask for SCRAM with channel binding",
        };
        let remedy =
            "Set scram-sha-256 in the server's pg_hba.conf and store the password as SCRAM, or drop channel_binding.";
        Err(auth(&self.channel.place, format!("channel_binding=require, but {why}"), remedy))
    }

    async fn scram_first(&mut self, body: &AuthenticationSaslBody) -> Result<(), Failure> {
        let wanted = self.binding != ChannelBinding::Disable;
        let end_point = self.channel.end_point.clone().filter(|_| wanted);
        let (mechanism, binding) = match end_point {
            Some(hash) if offers(body, SCRAM_SHA_256_PLUS) => {
                (SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
            }
            // Tells the server that we could have: it notices if someone took the offer away.
            Some(_) => (SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            None => (SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        if !offers(body, mechanism) {
            return Err(self.method("a SASL mechanism other than SCRAM-SHA-256"));
        }
        let password = self.password.find(&self.channel.place)?.into_owned();
        let exchange = ScramSha256::new(password.expose_secret().as_bytes(), binding);
        self.send(|buffer| frontend::sasl_initial_response(mechanism, exchange.message(), buffer)).await?;
        self.scram = Scram::Underway { exchange: Box::new(exchange), bound: mechanism == SCRAM_SHA_256_PLUS };
        Ok(())
    }

    async fn scram_next(&mut self, data: &[u8]) -> Result<(), Failure> {
        let Scram::Underway { exchange, .. } = &mut self.scram else {
            return Err(self.unexpected());
        };
        if let Err(error) = exchange.update(data) {
            return Err(self.auth(format_args!("SCRAM failed: {error}")));
        }
        let answer = exchange.message().to_vec();
        self.send(|buffer| frontend::sasl_response(&answer, buffer)).await
    }

    fn scram_final(&mut self, data: &[u8]) -> Result<(), Failure> {
        let Scram::Underway { exchange, bound } = &mut self.scram else {
            return Err(self.unexpected());
        };
        let bound = *bound;
        if let Err(error) = exchange.finish(data) {
            return Err(self.auth(format_args!("the server could not prove that it knows the password: {error}")));
        }
        self.scram = Scram::Done { bound };
        Ok(())
    }

    async fn send(&mut self, build: impl FnOnce(&mut bytes::BytesMut) -> std::io::Result<()>) -> Result<(), Failure> {
        self.channel.send(build).await.map_err(|error| self.broken(&error))
    }

    /// The next message that is not a notice. An error becomes a failure.
    async fn next(&mut self) -> Result<Message, Failure> {
        loop {
            match self.channel.next().await {
                Ok(Incoming::Known(Message::NoticeResponse(_)) | Incoming::Negotiate) => {}
                Ok(Incoming::Known(Message::ErrorResponse(body))) => {
                    return Err(self.refused(&ServerError::from_fields(&body)));
                }
                Ok(Incoming::Known(message)) => return Ok(message),
                Ok(Incoming::CopyBoth) => return Err(self.unexpected()),
                Err(error) => return Err(self.broken(&error)),
            }
        }
    }

    fn refused(&self, error: &ServerError) -> Failure {
        let then = match error.code.as_str() {
            "57P03" => Then::NextPlace,
            // pg_hba.conf may let in with TLS what it does not let in without, and the other way round.
            "28000" if !self.asked => Then::OtherEncryption,
            _ => Then::GiveUp,
        };
        Failure { reason: sqlstate::reason(error, &Asked::Login { place: &self.channel.place }).into(), then }
    }

    fn broken(&self, error: &ChannelError) -> Failure {
        Failure { reason: error.reason(&self.channel.place).into(), then: Then::NextPlace }
    }

    fn unexpected(&self) -> Failure {
        self.broken(&ChannelError::Foreign("a message came that has no place in a login".to_owned()))
    }

    fn auth(&self, message: impl std::fmt::Display) -> Failure {
        auth(&self.channel.place, message, "Check the password, and that this is the server you mean.")
    }

    fn method(&self, method: &str) -> Failure {
        let message = format!("the server asks for {method}, which is not supported");
        auth(&self.channel.place, message, "Set scram-sha-256 for this role in the server's pg_hba.conf.")
    }
}

fn offers(body: &AuthenticationSaslBody, mechanism: &str) -> bool {
    let mut offered = body.mechanisms();
    std::iter::from_fn(|| offered.next().ok().flatten()).any(|offer| offer == mechanism)
}

impl Session {
    /// Says so if TLS was tried, failed, and `sslmode` let us go on without.
    fn warn_if_weaker(&self, failed: &[Reason]) {
        if let (Some(reason), false) = (failed.last(), self.channel.encrypted()) {
            tracing::warn!(place = self.channel.place, %reason, "the connection to the source is not encrypted");
        }
    }

    /// Runs a simple query and waits for all of its rows; of several statements, the rows of all.
    ///
    /// # Errors
    /// What the server says, or a broken connection. After the latter the session is of no more use.
    pub(super) async fn query(&mut self, sql: &str, asked: &Asked<'_>) -> Result<Rows, Reason> {
        self.ask(sql).await?;
        let mut rows = Rows::new();
        let mut error = None;
        loop {
            match self.next().await? {
                Incoming::Known(Message::DataRow(row)) => rows.push(self.row(&row)?),
                Incoming::Known(Message::ErrorResponse(body)) => error = Some(ServerError::from_fields(&body)),
                Incoming::Known(Message::ReadyForQuery(_)) => break,
                Incoming::CopyBoth => return Err(self.unexpected()),
                Incoming::Known(_) | Incoming::Negotiate => {}
            }
        }
        match error {
            None => Ok(rows),
            Some(error) => Err(sqlstate::reason(&error, asked)),
        }
    }

    /// Sends a query.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<(), Reason> {
        let sent = self.channel.send(|buffer| frontend::query(sql, buffer)).await;
        sent.map_err(|error| error.reason(&self.channel.place))
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Result<Incoming, Reason> {
        self.channel.next().await.map_err(|error| error.reason(&self.channel.place))
    }

    /// The reason for a message that has no place where it came.
    pub(super) fn unexpected(&self) -> Reason {
        ChannelError::Foreign("a message came that has no place in an answer".to_owned()).reason(&self.channel.place)
    }

    fn row(&self, row: &DataRowBody) -> Result<Vec<Option<String>>, Reason> {
        let text = |range: Option<std::ops::Range<usize>>| {
            range.map(|range| String::from_utf8_lossy(&row.buffer()[range]).into_owned())
        };
        row.ranges().map(|range| Ok(text(range))).collect().map_err(|_| self.unexpected())
    }

    /// The server's major version; 0 if it does not say.
    fn major_version(&self) -> u32 {
        let version = self.parameters.get("server_version").map_or("", String::as_str);
        let digits = version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        digits.parse().unwrap_or(0)
    }

    /// Makes the settings that could not go into the startup message.
    async fn settle(&mut self, purpose: Purpose) -> Result<(), Reason> {
        let version = self.major_version();
        let later = LATER_SETTINGS.iter().filter(|(since, _)| version >= *since).map(|(_, set)| *set);
        // PostgreSQL 14 and later tell the default unasked; a replication connection writes nothing.
        let writable = self.parameters.get("default_transaction_read_only").is_some_and(|default| default == "off");
        let to_write = (purpose == Purpose::Sql && !writable).then_some(WRITABLE);
        for set in later.chain(to_write) {
            self.query(set, &Asked::Query { doing: "making the session's settings" }).await?;
        }
        Ok(())
    }

    /// Whether nothing can be written here. PostgreSQL 14 and later say so unasked.
    async fn read_only(&mut self) -> Result<bool, Reason> {
        let said = |name: &str| self.parameters.get(name).map(|value| value == "on");
        if let Some((standby, read_only)) = said("in_hot_standby").zip(said("default_transaction_read_only")) {
            return Ok(standby || read_only);
        }
        let doing = Asked::Query { doing: "asking whether the server is read-only" };
        let rows = self.query("SHOW transaction_read_only", &doing).await?;
        Ok(rows.first().and_then(|row| row.first()).is_some_and(|value| value.as_deref() == Some("on")))
    }
}

#[cfg(test)]
mod tests;
