//! Ordinary connections, for SQL with parameters and prepared statements.
//!
//! In: [`ConnectOptions`]. Out: a `tokio_postgres` client. Always: the login is ours (`login`), so that TLS, password
//! rules and session settings are those of the replication connection; the password never reaches the client.
//! Start at [`connect_sql`]; [`Handover`] is how a logged-in connection is given to a client that wants to log in.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use super::conninfo::ConnectOptions;
use super::login::{self, Purpose, Session};
use super::sqlstate;
use super::wire::Socket;
use crate::model::Reason;

/// The driver of a connection, running in the background; ends with why the connection ended, `None` if we closed it.
/// If a query is under way then, the server's last word is that query's error, and the driver only says "closed".
pub(super) type Driver = JoinHandle<Option<tokio_postgres::Error>>;

/// Opens a connection for SQL. Its `application_name` is that of the options with `/suffix` after it.
///
/// # Errors
/// Why no host lets us in.
pub(super) async fn connect_sql(options: &ConnectOptions, suffix: &str) -> Result<(Client, Driver), Reason> {
    let name = format!("{}/{suffix}", options.application_name);
    let session = login::connect(options, Purpose::Sql, &name).await?;
    let mut config = Config::new();
    config.user(&options.user).ssl_mode(tokio_postgres::config::SslMode::Disable);
    let (client, connection) = config
        .connect_raw(Handover::new(session), NoTls)
        .await
        .map_err(|error| sqlstate::query_reason(&error, "taking over the connection"))?;
    Ok((client, tokio::spawn(async move { connection.await.err() })))
}

/// A connection for SQL that is closed at once when dropped, whatever it is waiting for.
#[derive(Debug)]
pub(super) struct SqlSession {
    pub(super) client: Client,
    driver: Driver,
}

impl SqlSession {
    /// See [`connect_sql`].
    ///
    /// # Errors
    /// Why no host lets us in.
    pub(super) async fn connect(options: &ConnectOptions, suffix: &str) -> Result<SqlSession, Reason> {
        let (client, driver) = connect_sql(options, suffix).await?;
        Ok(SqlSession { client, driver })
    }
}

impl Drop for SqlSession {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A logged-in connection that plays its login again, so that a client which logs in by itself can take it over: the
/// client's startup message is swallowed, and what the server said at the real login is read again.
struct Handover {
    socket: Socket,
    /// The greeting to be read first, then what had come after the login.
    greeting: BytesMut,
    /// What has been written of the startup message; `None` once it is whole.
    startup: Option<BytesMut>,
}

impl Handover {
    fn new(session: Session) -> Handover {
        let mut greeting = BytesMut::new();
        // AuthenticationOk, ParameterStatus, BackendKeyData, ReadyForQuery (PostgreSQL 18 documentation, 54.7).
        message(&mut greeting, b'R', |body| body.put_i32(0));
        for (name, value) in &session.parameters {
            message(&mut greeting, b'S', |body| {
                for text in [name, value] {
                    body.put_slice(text.as_bytes());
                    body.put_u8(0);
                }
            });
        }
        if let Some((process, secret)) = session.key {
            message(&mut greeting, b'K', |body| {
                body.put_i32(process);
                body.put_i32(secret);
            });
        }
        message(&mut greeting, b'Z', |body| body.put_u8(b'I'));
        greeting.extend_from_slice(&session.channel.buffer);
        Handover { socket: session.channel.socket, greeting, startup: Some(BytesMut::new()) }
    }
}

fn message(into: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    let mut content = BytesMut::new();
    body(&mut content);
    into.put_u8(tag);
    // A handful of short texts that a 32-bit length brought here.
    into.put_u32(u32::try_from(content.len() + 4).unwrap_or(u32::MAX));
    into.extend_from_slice(&content);
}

impl AsyncRead for Handover {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, into);
        }
        let count = self.greeting.len().min(into.remaining());
        into.put_slice(&self.greeting[..count]);
        self.greeting.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Handover {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(startup) = &mut self.startup else {
            return Pin::new(&mut self.socket).poll_write(cx, bytes);
        };
        // Its first four bytes are its length.
        let wanted = match startup.first_chunk::<4>() {
            Some(length) => u32::from_be_bytes(*length) as usize,
            None => 4,
        };
        let count = bytes.len().min(wanted.saturating_sub(startup.len()));
        startup.extend_from_slice(&bytes[..count]);
        let whole =
            startup.first_chunk::<4>().is_some_and(|length| u32::from_be_bytes(*length) as usize <= startup.len());
        if whole {
            self.startup = None;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.startup.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| &**slice);
            return self.poll_write(cx, first);
        }
        let count = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, slices))?;
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
