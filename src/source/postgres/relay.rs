//! Takes in what comes over a unix socket on a thread of its own, many rows at a time.
//!
//! In: the socket of a stream. Out: the same bytes as [`AsyncRead`], and [`AsyncWrite`] for the answers. A unix socket
//! has no low-water mark (see `pace`), and its sender stops after some 200 small messages, whatever the reader allows: a
//! hold of a millisecond would stop the server. A thread that naps for [`NAP`] between two reads takes what came
//! meanwhile at once; the server's `send` finds nobody to wake, and we are woken once for a hundred rows.
//!
//! How we know (`scripts/bench.sh`, workload a, paired runs; see docs/decisions/0001-unix-socket.md): thousand rows/s of
//! `pg_recvlogical` 330 to 380, of eager reads 236 to 312; with this, on a busier machine, 0.88 to 1.16 times the former.
//!
//! Always: the first byte after a quiet moment is passed on at once; what waits here is bounded by [`GULPS`] gulps.
//! Not here: what the bytes mean, and the memory budget, which is asked when they are looked at. Start at
//! [`Relay::start`]; [`fetch`] is the thread.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

/// Most bytes of one read. More than the sender may have under way.
const GULP: usize = 256 << 10;

/// Gulps that may wait for the stream's task.
const GULPS: usize = 4;

/// Pause before a read while much flows. The sender fills its share of messages in about four times that.
const NAP: Duration = Duration::from_micros(100);

/// So many bytes within [`RECENT`] are much.
const MUCH: usize = 16 << 10;

/// Bytes that came within this time are counted together.
const RECENT: Duration = Duration::from_millis(10);

/// A connection whose bytes are fetched by a thread. Dropping it closes the connection and ends the thread.
#[derive(Debug)]
pub(super) struct Relay {
    socket: Arc<UnixStream>,
    gulps: mpsc::Receiver<io::Result<Bytes>>,
    /// Fetched, not taken yet.
    rest: Bytes,
}

impl Relay {
    /// Takes over a connection.
    ///
    /// # Errors
    /// If the socket cannot be made to block or the thread not be started; the connection is closed then.
    pub(super) fn start(socket: tokio::net::UnixStream) -> io::Result<Relay> {
        let socket = Arc::new(socket.into_std()?);
        socket.set_nonblocking(false)?;
        let (sender, gulps) = mpsc::channel(GULPS);
        let reading = socket.clone();
        thread::Builder::new().name("unix-socket".to_owned()).spawn(move || fetch(&reading, &sender))?;
        Ok(Relay { socket, gulps, rest: Bytes::new() })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // An error means that it is closed already. The thread's read returns.
        drop(self.socket.shutdown(Shutdown::Both));
    }
}

/// Reads until the connection ends or nobody listens. An empty gulp is the end.
fn fetch(mut socket: &UnixStream, gulps: &mpsc::Sender<io::Result<Bytes>>) {
    let mut space = vec![0; GULP];
    let mut flow = Flow::new(Instant::now());
    loop {
        if flow.much {
            thread::sleep(NAP);
        }
        let read = socket.read(&mut space);
        let last = !matches!(read, Ok(1..));
        let gulp = read.map(|bytes| {
            flow.read(bytes, Instant::now());
            Bytes::copy_from_slice(&space[..bytes])
        });
        if gulps.blocking_send(gulp).is_err() || last {
            return;
        }
    }
}

/// Tells whether much flows.
#[derive(Debug)]
struct Flow {
    much: bool,
    bytes: usize,
    since: Instant,
}

impl Flow {
    fn new(now: Instant) -> Flow {
        Flow { much: false, bytes: 0, since: now }
    }

    fn read(&mut self, bytes: usize, now: Instant) {
        if now - self.since > RECENT {
            self.much = self.bytes >= MUCH && now - self.since < 2 * RECENT;
            (self.bytes, self.since) = (0, now);
        }
        self.bytes += bytes;
        self.much |= self.bytes >= MUCH;
    }
}

impl AsyncRead for Relay {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match ready!(self.gulps.poll_recv(cx)) {
                Some(gulp) => self.rest = gulp?,
                // The thread has told the end before it went; it is told again.
                None => return Poll::Ready(Ok(())),
            }
        }
        let bytes = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest.split_to(bytes));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Relay {
    /// The socket blocks, for the thread; this does not. What we write is a few bytes now and then, so a server that has
    /// no room for them has stopped reading altogether: that ends the connection.
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        Poll::Ready(SockRef::from(self.socket.as_ref()).send_with_flags(bytes, flags))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_pass_both_ways_and_the_end_is_told() {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let mut relay = Relay::start(ours).unwrap();
        let sent: Vec<u8> = (0..3 * GULP).map(|at| (at % 251) as u8).collect();
        let want = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in sent.chunks(777) {
                theirs.write_all(piece).await.unwrap();
            }
            let mut answer = [0; 6];
            theirs.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer");
        });
        let mut got = vec![0; want.len()];
        relay.read_exact(&mut got).await.unwrap();
        assert!(got == want, "the same bytes in the same order");
        relay.write_all(b"answer").await.unwrap();
        writer.await.unwrap();
        for _ in 0..2 {
            assert_eq!(relay.read(&mut got).await.unwrap(), 0, "the other side has closed");
        }
    }

    #[tokio::test]
    async fn dropping_it_closes_the_connection() {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        drop(Relay::start(ours).unwrap());
        assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[test]
    fn naps_are_taken_while_much_flows() {
        let start = Instant::now();
        let cases: &[(&str, &[(u64, usize)], bool)] = &[
            ("a trickle", &[(1, 100), (9, 100), (20, 15 << 10)], false),
            ("a burst", &[(1, 8 << 10), (2, 8 << 10)], true),
            ("and on", &[(1, MUCH), (11, 1)], true),
            ("until less comes", &[(1, MUCH), (11, 1), (22, 1)], false),
            ("or nothing for a while", &[(1, MUCH), (50, 1)], false),
        ];
        for (name, reads, want) in cases {
            let mut flow = Flow::new(start);
            reads.iter().for_each(|(ms, bytes)| flow.read(*bytes, start + Duration::from_millis(*ms)));
            assert_eq!(flow.much, *want, "{name}");
        }
    }
}
