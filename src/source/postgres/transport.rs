//! Opens a connection to one address of a server and speaks PostgreSQL's framing over it.
//!
//! In: a [`Host`] and how to encrypt. Out: a [`Channel`] of whole messages, before any login. Always: names are
//! resolved anew at each attempt; nothing the server sends before TLS is up is believed. Not here: login and which host
//! comes next (`login`), what rustls accepts (`tls`). Start at [`open`].

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::conninfo::{ConnectOptions, Host};
use super::sqlstate::UNREACHABLE;
use super::tls;
use super::wire::Socket;
use crate::model::{Class, Reason};

/// How long a peer may be silent before the kernel asks whether it is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
/// How long between two such questions, and how many go unanswered before the connection counts as lost.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 3;
/// How long what we sent may stay unacknowledged.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// No message we read before a stream starts is longer, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Letters that start a message of a server (PostgreSQL 18 documentation, 54.7 "Message Formats").
const TAGS: &[u8] = b"RSKNEZTDCIAWGHVcdvnts123";

/// What one address wants.
#[derive(Clone, Debug)]
pub(super) enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// Whether to ask for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// No.
    Never,
    /// Yes, and go on without if the server has none.
    IfOffered,
    /// Yes, and give up if the server has none.
    Always,
}

/// What may still help after an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Another address or host.
    NextPlace,
    /// The same address, with TLS instead of without or the other way round, if `sslmode` has a choice; else nothing.
    OtherEncryption,
    /// Nothing: the server has decided.
    GiveUp,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// For the person. Boxed: it is large, and most results are no failures.
    pub(super) reason: Box<Reason>,
    /// For the next attempt.
    pub(super) then: Then,
}

impl Failure {
    /// The server could not be reached.
    pub(super) fn unreachable(place: &str, why: impl std::fmt::Display) -> Failure {
        let message = format!("cannot connect to {place}: {why}");
        let reason = Reason::new("SOURCE_UNREACHABLE", Class::Retry, place, message, UNREACHABLE);
        Failure { reason: reason.into(), then: Then::NextPlace }
    }

    /// TLS is not what `sslmode` asks for.
    fn tls(place: &str, why: &str, remedy: &str) -> Failure {
        let message = format!("no TLS connection to {place}: {why}");
        let reason = Reason::new("SOURCE_TLS", Class::Wait, place, message, remedy);
        Failure { reason: reason.into(), then: Then::OtherEncryption }
    }
}

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChannelError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// Whoever answers is no PostgreSQL server.
    #[error("what answers is not PostgreSQL: {0}")]
    Foreign(String),
}

impl ChannelError {
    /// What it means while talking to this place.
    pub(super) fn reason(&self, place: &str) -> Reason {
        match self {
            ChannelError::Foreign(_) => Reason::new(
                "SOURCE_PROTOCOL",
                Class::Retry,
                place,
                format!("at {place}: {self}"),
                "Check host and port, and what stands between; it is tried again.",
            ),
            ChannelError::Io(_) | ChannelError::Closed => {
                let message = format!("connection to {place} lost: {self}");
                Reason::new("SOURCE_UNREACHABLE", Class::Retry, place, message, UNREACHABLE)
            }
        }
    }
}

/// A connection that carries whole messages.
#[derive(Debug)]
pub(super) struct Channel {
    /// The connection.
    pub(super) socket: Socket,
    /// What was read and not taken yet.
    pub(super) buffer: BytesMut,
    /// `host:port`, for messages.
    pub(super) place: String,
    /// Whether no network lies between.
    pub(super) local: bool,
    /// What SCRAM can bind to: the hash of the server's certificate.
    pub(super) end_point: Option<Vec<u8>>,
}

/// One message of the server.
pub(super) enum Incoming {
    /// A message `postgres-protocol` knows.
    Known(Message),
    /// CopyBothResponse: a stream starts.
    CopyBoth,
    /// NegotiateProtocolVersion: the server is older than what we asked for, and goes on.
    Negotiate,
}

impl Channel {
    /// Whether TLS is on.
    pub(super) fn encrypted(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }

    /// Sends what `build` puts into the buffer.
    ///
    /// # Errors
    /// A text with a zero byte in it, or a broken connection.
    pub(super) async fn send(
        &mut self,
        build: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), ChannelError> {
        let mut message = BytesMut::new();
        build(&mut message)?;
        self.socket.write_all(&message).await?;
        self.socket.flush().await?;
        Ok(())
    }

    /// Waits for one message.
    ///
    /// # Errors
    /// A broken or closed connection, or bytes that are not PostgreSQL's.
    pub(super) async fn next(&mut self) -> Result<Incoming, ChannelError> {
        let length = loop {
            match frame(&self.buffer)? {
                Some(length) if self.buffer.len() >= length => break length,
                _ => {}
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(ChannelError::Closed);
            }
        };
        match self.buffer[0] {
            tag @ (b'W' | b'v') => {
                self.buffer.advance(length);
                Ok(if tag == b'W' { Incoming::CopyBoth } else { Incoming::Negotiate })
            }
            tag => {
                // Given alone, so that a wrong length inside cannot reach into the next message.
                let mut one = self.buffer.split_to(length);
                match Message::parse(&mut one) {
                    Ok(Some(message)) => Ok(Incoming::Known(message)),
                    _ => Err(ChannelError::Foreign(format!("a message {:?} cannot be read", char::from(tag)))),
                }
            }
        }
    }
}

/// The length of the message at the front with its tag, once its first five bytes are there.
fn frame(bytes: &[u8]) -> Result<Option<usize>, ChannelError> {
    let [tag, a, b, c, d, ..] = *bytes else {
        let foreign = bytes.first().is_some_and(|tag| !TAGS.contains(tag));
        return if foreign { Err(ChannelError::Foreign(speaker(bytes))) } else { Ok(None) };
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !TAGS.contains(&tag) || !(4..=MESSAGE_BYTES_MAX).contains(&length) {
        return Err(ChannelError::Foreign(speaker(bytes)));
    }
    Ok(Some(length + 1))
}

/// Guesses who sends these bytes instead of PostgreSQL.
fn speaker(bytes: &[u8]) -> String {
    match bytes {
        [b'H', b'T', b'T', b'P', ..] => "an HTTP server".to_owned(),
        [0x15, 3, ..] | [0x15] => {
            "a TLS alert: TLS may have to be on from the first byte, or a proxy ends it".to_owned()
        }
        [b'S', b'S', b'H', b'-', ..] => "an SSH server".to_owned(),
        [_, 0, 0, 0, 10, ..] => "a MySQL server".to_owned(),
        _ => format!("its first bytes are {:?}", bytes[..bytes.len().min(8)].escape_ascii().to_string()),
    }
}

/// Every address of a host, in the resolver's order.
///
/// # Errors
/// A name that does not resolve within the connect timeout.
pub(super) async fn addresses(options: &ConnectOptions, host: &Host) -> Result<Vec<Address>, Failure> {
    let (name, port) = match host {
        Host::Tcp(name, port) => (name.as_str(), *port),
        Host::Unix(..) => return Ok(host.socket().map(Address::Unix).into_iter().collect()),
    };
    let found = tokio::time::timeout(options.connect_timeout, lookup_host((name, port))).await;
    let place = host.place();
    match found {
        Err(_) => Err(Failure::unreachable(&place, "the name was not resolved in time")),
        Ok(Err(error)) => Err(Failure::unreachable(&place, format_args!("the name does not resolve: {error}"))),
        Ok(Ok(found)) => Ok(found.map(Address::Tcp).collect()),
    }
}

/// Connects to one address and negotiates TLS.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn open(
    options: &ConnectOptions,
    host: &Host,
    address: &Address,
    encryption: Encryption,
) -> Result<Channel, Failure> {
    let place = host.place();
    let (socket, local) = match address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(|error| Failure::unreachable(&place, error))?;
            (Socket::Unix(socket), true)
        }
        Address::Tcp(address) => {
            let stream = tcp(*address).await.map_err(|error| Failure::unreachable(&place, error))?;
            let Host::Tcp(name, _) = host else {
                return Err(Failure::unreachable(&place, "a unix socket has no TCP address"));
            };
            (negotiate(options, name, &place, stream, encryption).await?, address.ip().is_loopback())
        }
    };
    let end_point = match &socket {
        Socket::Tls(stream) => {
            stream.get_ref().1.peer_certificates().and_then(|shown| tls::end_point_hash(shown.first()?))
        }
        Socket::Tcp(_) | Socket::Unix(_) | Socket::Relayed(_) => None,
    };
    Ok(Channel { socket, buffer: BytesMut::with_capacity(8 << 10), place, local, end_point })
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVE_COUNT);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(stream)
}

/// Asks for TLS and shakes hands (PostgreSQL 18 documentation, 54.2, "SSL Session Encryption").
async fn negotiate(
    options: &ConnectOptions,
    name: &str,
    place: &str,
    mut stream: TcpStream,
    encryption: Encryption,
) -> Result<Socket, Failure> {
    if encryption == Encryption::Never {
        return Ok(Socket::Tcp(stream));
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    // One byte and not more: bytes after it would have been sent by someone without the certificate's key.
    let answer = async {
        stream.write_all(&request).await?;
        stream.read_u8().await
    };
    match answer.await {
        Ok(b'S') => {}
        Ok(b'N') if encryption == Encryption::IfOffered => return Ok(Socket::Tcp(stream)),
        Ok(b'N') => {
            let remedy = "Set ssl = on at the server, or choose another sslmode.";
            return Err(Failure::tls(place, "the server does not offer it", remedy));
        }
        Ok(b'E') => {
            // Its text is not shown: anyone on the way could have written it.
            let then = Then::OtherEncryption;
            return Err(Failure {
                then,
                ..Failure::unreachable(place, "the server answered the TLS request with an error")
            });
        }
        Ok(first) => return Err(foreign(place, first, &mut stream).await),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(Failure::unreachable(place, "the connection was closed at the TLS request"));
        }
        Err(error) => return Err(Failure::unreachable(place, error)),
    }
    let client = tls::client(options, name)
        .map_err(|error| Failure::tls(place, &error.to_string(), "Check sslmode, sslrootcert, sslcert and sslkey."))?;
    match TlsConnector::from(client.config).connect(client.name, stream).await {
        Ok(stream) => Ok(Socket::Tls(Box::new(stream))),
        Err(error) => Err(Failure::tls(place, &tls::handshake_problem(&error), "Check sslmode and the certificates.")),
    }
}

/// Names who answered a TLS request with this byte.
async fn foreign(place: &str, first: u8, stream: &mut TcpStream) -> Failure {
    let mut bytes = vec![first];
    let mut more = [0; 15];
    // Only for the message: what has not come by now is not waited for.
    if let Ok(count) = stream.try_read(&mut more) {
        bytes.extend_from_slice(&more[..count]);
    }
    Failure { reason: ChannelError::Foreign(speaker(&bytes)).reason(place).into(), then: Then::NextPlace }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_foreign_bytes() {
        type Want = Result<Option<usize>, &'static str>;
        let cases: [(&[u8], Want); 11] = [
            (b"", Ok(None)),
            (b"R\0\0\0", Ok(None)),
            (b"R\0\0\0\x08", Ok(Some(9))),
            (b"Z\0\0\0\x05I", Ok(Some(6))),
            (b"R\0\0\0\x03", Err("its first bytes")),
            (b"R\xff\xff\xff\xff", Err("its first bytes")),
            (b"HTTP/1.1 400 Bad Request", Err("an HTTP server")),
            (b"\x15\x03\x01\x00\x02\x02\x46", Err("a TLS alert")),
            (b"\x15", Err("a TLS alert")),
            (b"SSH-2.0-OpenSSH", Err("an SSH server")),
            (b"J\0\0\0\x0a8.0.36", Err("a MySQL server")),
        ];
        for (bytes, want) in cases {
            match (frame(bytes), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{}", bytes.escape_ascii()),
                (Err(ChannelError::Foreign(got)), Err(want)) => assert!(got.starts_with(want), "{got}"),
                (got, want) => panic!("{}: {got:?}, wanted {want:?}", bytes.escape_ascii()),
            }
        }
    }
}
