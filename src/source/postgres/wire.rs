//! A replication connection once it is open: the socket and what it has already brought.
//!
//! In: whatever opened the connection. Out: bytes, both ways. Always: a caller sees one stream, whether the bytes
//! travel over TCP, a unix socket or TLS. Not here: opening it, logging in, what the bytes mean. Start at [`Copying`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::relay::Relay;

/// A connection to a PostgreSQL server.
#[derive(Debug)]
pub(super) enum Socket {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A unix socket that carries a stream.
    Relayed(Relay),
}

/// A replication connection in CopyBoth mode (PostgreSQL 18 documentation, 54.4 "Streaming Replication Protocol"):
/// the server has answered START_REPLICATION with CopyBothResponse.
#[derive(Debug)]
pub(super) struct Copying {
    /// The connection.
    pub(super) socket: Socket,
    /// Bytes read beyond CopyBothResponse, not looked at yet.
    pub(super) buffer: BytesMut,
}

impl Socket {
    /// The same connection, for a stream.
    ///
    /// # Errors
    /// See [`Relay::start`].
    pub(super) fn streaming(self) -> io::Result<Socket> {
        match self {
            Socket::Unix(unix) => Relay::start(unix).map(Socket::Relayed),
            other => Ok(other),
        }
    }

    /// The TCP connection underneath, whose socket options are those of the network; `None` for a unix socket.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Socket::Tcp(tcp) => Some(tcp),
            Socket::Tls(tls) => Some(tls.get_ref().0),
            Socket::Unix(_) | Socket::Relayed(_) => None,
        }
    }
}

/// Calls the same method on whichever connection it is.
macro_rules! on_each {
    ($socket:expr, $method:ident($($argument:expr),*)) => {
        match $socket.get_mut() {
            Socket::Tcp(tcp) => Pin::new(tcp).$method($($argument),*),
            Socket::Unix(unix) => Pin::new(unix).$method($($argument),*),
            Socket::Tls(tls) => Pin::new(tls.as_mut()).$method($($argument),*),
            Socket::Relayed(relay) => Pin::new(relay).$method($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_each!(self, poll_read(cx, into))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_each!(self, poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_each!(self, poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Tcp(tcp) => tcp.is_write_vectored(),
            Socket::Unix(unix) => unix.is_write_vectored(),
            Socket::Tls(tls) => tls.is_write_vectored(),
            Socket::Relayed(relay) => relay.is_write_vectored(),
        }
    }
}
