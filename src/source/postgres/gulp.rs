//! Moves bytes between the socket and the two buffers.
//!
//! In: a socket that may do both. Out: bytes appended to the read buffer, updates written. Always: dropping a wait
//! loses nothing, because every byte is in one of the buffers as soon as the kernel gave or took it. Not here: what
//! the bytes mean, and when to read (`core`, `pace`). Start at [`poll_move`].

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::standby::Update;
use crate::model::Lsn;
use crate::pgoutput::Timestamp;

/// What moved.
#[derive(Debug)]
pub(super) enum Moved {
    /// That many bytes were read.
    Read(usize),
    /// Everything to be written was; the last update confirmed this position.
    Written(Lsn),
    /// The server closed the connection.
    Closed,
    /// The connection broke.
    Broken(io::Error),
}

/// Where and how much to read.
pub(super) struct Gulp<'a> {
    /// Bytes are added here.
    pub(super) buffer: &'a mut BytesMut,
    /// Bytes of memory to ask for when the buffer is full.
    pub(super) chunk: usize,
    /// Most bytes to read at once.
    pub(super) max: usize,
}

/// Bytes to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The bytes, of which `written` are gone.
    pub(super) bytes: Vec<u8>,
    written: usize,
    confirms: Lsn,
}

impl Outbox {
    /// Adds an update.
    pub(super) fn put(&mut self, update: Update) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        update.encode(Timestamp::from_unix_micros(now), &mut self.bytes);
        self.confirms = update.confirmed;
    }

    fn poll_write(&mut self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<Lsn>> {
        while self.written < self.bytes.len() {
            match ready!(Pin::new(&mut *socket).poll_write(cx, &self.bytes[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        ready!(Pin::new(socket).poll_flush(cx))?;
        self.bytes.clear();
        self.written = 0;
        Poll::Ready(Ok(self.confirms))
    }
}

/// Writes what is to be written, and reads what there is if there is a gulp to fill.
pub(super) fn poll_move<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    outbox: &mut Outbox,
    gulp: Option<&mut Gulp<'_>>,
    cx: &mut Context<'_>,
) -> Poll<Moved> {
    if !outbox.bytes.is_empty()
        && let Poll::Ready(written) = outbox.poll_write(socket, cx)
    {
        return Poll::Ready(written.map_or_else(Moved::Broken, Moved::Written));
    }
    let Some(gulp) = gulp else { return Poll::Pending };
    let read = ready!(poll_gulp(socket, gulp, cx));
    Poll::Ready(match read {
        Ok(0) => Moved::Closed,
        Ok(bytes) => Moved::Read(bytes),
        Err(error) => Moved::Broken(error),
    })
}

/// Reads until nothing more is there, the buffer is full, or the gulp is as large as it may be.
fn poll_gulp<S: AsyncRead + Unpin>(
    socket: &mut S,
    gulp: &mut Gulp<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut total = 0;
    if gulp.buffer.len() == gulp.buffer.capacity() {
        gulp.buffer.reserve(gulp.chunk);
    }
    while total < gulp.max && gulp.buffer.len() < gulp.buffer.capacity() {
        match pin!(socket.read_buf(gulp.buffer)).poll(cx) {
            Poll::Ready(Ok(bytes)) if bytes > 0 => total += bytes,
            // The end, or an error, comes after what was read before it. Both are told again at the next read,
            // an error possibly as an end.
            Poll::Ready(_) | Poll::Pending if total > 0 => break,
            read => return read,
        }
    }
    Poll::Ready(Ok(total))
}
