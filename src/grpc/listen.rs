//! Binds the ports and takes connections, so many and no more.
//!
//! In: addresses. Out: connections that give their place back when dropped. Always: a failed `accept` is waited out and
//! never ends the server; a client that connects and says nothing is dropped after [`PATIENCE`].

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::Options;

/// Time a connection has to say what it must: the HTTP/2 preface, or all of an HTTP/1 exchange.
const PATIENCE: Duration = Duration::from_secs(10);
/// Open gRPC connections, at most. Further ones are closed at once.
const GRPC_CONNECTIONS_MAX: usize = 256;
/// Open HTTP connections, at most.
const HTTP_CONNECTIONS_MAX: usize = 64;
/// Bytes a client sends first on HTTP/2 (RFC 9113 section 3.4).
const HTTP2_PREFACE_BYTES: usize = 24;
/// Pause after a failed `accept`: the usual cause, no free file descriptor, does not pass faster.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} ({variable})")]
pub struct BindError {
    /// The address asked for.
    pub addr: SocketAddr,
    /// The setting it comes from.
    pub variable: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The bound ports, not served yet. Clients that come already wait in the system's queue.
#[derive(Debug)]
pub struct Listeners {
    pub(super) grpc: Port,
    pub(super) http: Option<Port>,
}

impl Listeners {
    /// Binds what the options ask for; port 0 takes any free port.
    ///
    /// # Errors
    /// The first port that cannot be had.
    pub async fn bind(options: &Options) -> Result<Listeners, BindError> {
        // HTTP/2 connections stay once they have begun; an HTTP/1 one is over after one answer and never earns more time.
        let grpc = Port::bind(options.grpc_addr, "GRPC_ADDR", GRPC_CONNECTIONS_MAX, HTTP2_PREFACE_BYTES).await?;
        let http = match options.http_addr {
            Some(addr) => Some(Port::bind(addr, "METRICS_ADDR", HTTP_CONNECTIONS_MAX, usize::MAX).await?),
            None => None,
        };
        Ok(Listeners { grpc, http })
    }

    /// Where gRPC listens.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc.addr
    }

    /// Where HTTP listens.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|port| port.addr)
    }
}

/// One bound port.
#[derive(Debug)]
pub(super) struct Port {
    listener: TcpListener,
    addr: SocketAddr,
    places: Arc<Semaphore>,
    /// Bytes after which a connection has shown that it means it.
    earnest_bytes: usize,
}

impl Port {
    async fn bind(
        addr: SocketAddr,
        variable: &'static str,
        connections_max: usize,
        earnest_bytes: usize,
    ) -> Result<Port, BindError> {
        let cannot = |source| BindError { addr, variable, source };
        let listener = TcpListener::bind(addr).await.map_err(cannot)?;
        let addr = listener.local_addr().map_err(cannot)?;
        Ok(Port { listener, addr, places: Arc::new(Semaphore::new(connections_max)), earnest_bytes })
    }

    /// The next connection there is a place for.
    pub(super) async fn next(&self) -> Connection {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => match self.places.clone().try_acquire_owned() {
                    Ok(place) => {
                        // Small answers go out at once; without it nothing but latency is lost.
                        let _ = stream.set_nodelay(true);
                        return Connection {
                            stream,
                            peer,
                            local: self.addr,
                            deadline: Some(Box::pin(sleep(PATIENCE))),
                            earnest_in: self.earnest_bytes,
                            _place: place,
                        };
                    }
                    Err(_) => tracing::debug!(port = self.addr.port(), "connection closed: too many are open"),
                },
                Err(error) => {
                    tracing::debug!(port = self.addr.port(), %error, "accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl axum::serve::Listener for Port {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let connection = self.next().await;
        let peer = connection.peer;
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

/// A connection that fails once its patience ends before it has sent what it must.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    deadline: Option<Pin<Box<Sleep>>>,
    earnest_in: usize,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().map(|deadline| deadline.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Err(io::ErrorKind::TimedOut.into()),
            Some(Poll::Pending) | None => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.earnest_in = self.earnest_in.saturating_sub(buf.filled().len() - before);
        if self.earnest_in == 0 {
            self.deadline = None;
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: Some(self.local), remote_addr: Some(self.peer) }
    }
}
