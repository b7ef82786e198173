//! Reads what `COPY ... TO STDOUT` sends, a piece at a time.
//!
//! In: a session that was sent such a command. Out: rows. Always: rows are written into their layout straight from the
//! buffer they were received in; nothing is read ahead but what one read of the socket brings, so a server whose rows
//! nobody takes has to wait. Not here: which command, and what its errors mean (`chunk_connection`). Start at
//! [`CopyOut::start`]. Messages: PostgreSQL 18 documentation, 54.2.6 "COPY Operations".

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;

use super::copy_rows::Rows;
use super::ending;
use super::framing;
use super::login::Session;
use super::sqlstate::ServerError;
use super::transport::ChannelError;
use crate::model::{Reason, Row};

/// Room for one read of the socket.
const READ: usize = 256 << 10;

/// Why no more rows come.
#[derive(Debug)]
pub(super) enum CopyFailure {
    /// The server says so. The session is ready for the next command, its transaction is void.
    Server(ServerError),
    /// The connection is of no more use.
    Broken(Reason),
}

/// A copy under way.
#[derive(Debug)]
pub(super) struct CopyOut {
    columns: u16,
    /// Taken from the connection, not handed on yet: here, so that whoever stops waiting loses none.
    rows: Rows,
    /// The server's word, while the rest of its answer is still to come.
    error: Option<ServerError>,
    ended: bool,
}

/// Why the received messages do not go on for now.
enum Stop {
    /// There are as many rows as were asked for.
    Full,
    /// The next message is not whole; its size, where that is known.
    Partial(Option<usize>),
    /// The answer is complete.
    Ended,
    /// The rows begin.
    Begun,
}

impl CopyOut {
    /// Sends COPY commands whose rows have so many columns and waits until rows come, or what the server says instead.
    pub(super) async fn start(session: &mut Session, sql: &str, columns: u16) -> Result<CopyOut, CopyFailure> {
        session.ask(sql).await.map_err(CopyFailure::Broken)?;
        let mut copy = CopyOut { columns, rows: Rows::new(columns, 0), error: None, ended: false };
        while !matches!(copy.proceed(session, 0, true).await?, Stop::Begun | Stop::Ended) {}
        Ok(copy)
    }

    /// The next rows and the memory they hold, about `bytes_max` of it or a single row; `None` at the end.
    pub(super) async fn piece(
        &mut self,
        session: &mut Session,
        bytes_max: usize,
    ) -> Result<Option<(Vec<Row>, usize)>, CopyFailure> {
        if self.rows.is_empty() {
            self.rows = Rows::new(self.columns, bytes_max);
        }
        while !self.ended && !matches!(self.proceed(session, bytes_max, false).await?, Stop::Full) {}
        let rows = std::mem::replace(&mut self.rows, Rows::new(self.columns, 0));
        Ok((!rows.is_empty()).then(|| rows.finish()))
    }

    /// Throws away what still comes, up to a number of bytes. Whether that was all, and the session can be used on.
    pub(super) async fn rest_is_small(&mut self, session: &mut Session, bytes_max: usize) -> bool {
        let mut left = bytes_max;
        while !self.ended && left > 0 {
            match self.proceed(session, READ, false).await {
                Ok(_) => left = left.saturating_sub(self.rows.size()),
                Err(CopyFailure::Server(_)) => return true,
                Err(CopyFailure::Broken(_)) => return false,
            }
            self.rows = Rows::new(self.columns, 0);
        }
        self.ended
    }

    /// Takes what was received; reads once more where that is not enough.
    async fn proceed(
        &mut self,
        session: &mut Session,
        bytes_max: usize,
        until_begun: bool,
    ) -> Result<Stop, CopyFailure> {
        let broken = |error: ChannelError, place: &str| CopyFailure::Broken(error.reason(place));
        let channel = &mut session.channel;
        let stop = self.take(&mut channel.buffer, bytes_max, until_begun);
        let stop = stop.map_err(|error| broken(error, &channel.place))?;
        match stop {
            Stop::Partial(size) => {
                make_room(&mut channel.buffer, size);
                match channel.socket.read_buf(&mut channel.buffer).await {
                    Ok(0) => return Err(broken(ChannelError::Closed, &channel.place)),
                    Ok(_) => {}
                    Err(error) => return Err(broken(error.into(), &channel.place)),
                }
            }
            Stop::Ended => {
                self.ended = true;
                if let Some(error) = self.error.take() {
                    return Err(CopyFailure::Server(error));
                }
            }
            Stop::Full | Stop::Begun => {}
        }
        Ok(stop)
    }

    /// Takes whole messages out of the buffer.
    fn take(&mut self, buffer: &mut BytesMut, bytes_max: usize, until_begun: bool) -> Result<Stop, ChannelError> {
        let rows = &mut self.rows;
        let mut at = 0;
        let stop = loop {
            let found = framing::first(&buffer[at..]).map_err(|error| ChannelError::Foreign(error.to_string()))?;
            let Some((tag, body)) = found.whole else { break Stop::Partial(found.size) };
            if tag == b'd' {
                if !rows.is_empty() && rows.size() + rows.bound(body) > bytes_max {
                    break Stop::Full;
                }
                rows.push(body).map_err(|error| ChannelError::Foreign(error.to_string()))?;
            }
            let error = (tag == b'E').then(|| ending::server_error(body));
            self.error = self.error.take().or(error);
            at += found.size.unwrap_or_default();
            match tag {
                b'd' => {}
                b'H' if until_begun => break Stop::Begun,
                b'Z' => break Stop::Ended,
                // CopyOutResponse of a further command, CopyDone, CommandComplete, and what may come at any time.
                b'H' | b'c' | b'C' | b'E' | b'N' | b'S' | b'A' => {}
                _ => return Err(ChannelError::Foreign(format!("a message {:?} came within a copy", char::from(tag)))),
            }
        };
        buffer.advance(at);
        Ok(stop)
    }
}

/// Makes room for the rest of a message of that size, or for one read. The memory of a large row is not kept.
fn make_room(buffer: &mut BytesMut, size: Option<usize>) {
    let wanted = size.unwrap_or_default().max(READ);
    // Moves what is left to the front where that makes the room.
    buffer.reserve(wanted.saturating_sub(buffer.len()));
    if buffer.capacity() > 4 * wanted {
        let mut smaller = BytesMut::with_capacity(wanted);
        smaller.extend_from_slice(buffer);
        *buffer = smaller;
    }
}
