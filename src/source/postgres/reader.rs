//! Reads the stream of one replication connection and answers the server: the one task that owns the socket.
//!
//! In: an open connection, and what may be confirmed. Out: [`Block`]s of events, the first of which is
//! [`Event::Resumed`]. Always: memory for a block is taken from the budget before its messages are decoded; what the
//! budget, the pipeline or a pause holds up, holds up reading alone: updates go out, a stop and the server's shutdown
//! are heeded; a transaction that came in parts before it committed goes the same way once it has, and the socket waits
//! meanwhile (`streaming`). Not here: the decisions (`core`), the meaning of messages (`decode`), opening the connection.
//! Start at [`run`]; [`Reader::wait`] has the only `select!`.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::core::{Action, Core, Decoded, Wake};
use super::decode::Decoder;
use super::ending;
use super::framing::{self, Found};
use super::gulp::{Gulp, Moved, Outbox, poll_move};
use super::sqlstate::Asked;
use super::standby::{Timings, Update};
use super::streaming::{self, Streaming};
use super::wire::{Copying, Socket};
use super::{low_water, pace};
use crate::model::{Block, Event, Lsn, Permit, Reason};
use crate::pgoutput::Envelope;
use crate::source::Ends;
use crate::status::SourceMeter;

/// Most bytes of one gulp, and so of one block, unless a single message is larger.
const GULP_MAX: usize = 1 << 20;

/// Least of the same, however small the budget is.
const GULP_MIN: usize = 64 << 10;

/// A gulp is at most this part of the budget.
const GULP_SHARE: usize = 8;

/// Memory is asked of the allocator in pieces of this size while much flows ...
const CHUNK: usize = 512 << 10;

/// ... and of this size while little flows.
const CHUNK_IDLE: usize = 32 << 10;

/// How long the server may take to end the copy in order.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// The frontend's CopyDone.
const COPY_DONE: &[u8] = b"c\0\0\0\x04";

/// The frontend's Terminate.
const TERMINATE: &[u8] = b"X\0\0\0\x04";

type Granted<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Everything a stream needs.
#[derive(Debug)]
pub(super) struct Stream {
    /// The connection, after START_REPLICATION.
    pub(super) copying: Copying,
    /// The position given to START_REPLICATION. It may lie ahead of what is durable.
    pub(super) start: Lsn,
    /// The slot, for messages.
    pub(super) slot: String,
    /// The publication, for messages.
    pub(super) publication: String,
    /// Knows the tables.
    pub(super) decoder: Decoder,
    /// The connections to the rest.
    pub(super) ends: Ends,
    /// The source's numbers.
    pub(super) meter: SourceMeter,
    /// From the server's `wal_sender_timeout`.
    pub(super) timings: Timings,
    /// Turns true when the server wants to stop: the connection is dropped at once.
    pub(super) shutdown_notice: watch::Receiver<bool>,
    /// Set if transactions in progress were asked for.
    pub(super) streaming: Option<Streaming>,
}

/// Streams until told to stop.
///
/// # Errors
/// Why the stream ended, unless it was told to.
pub(super) async fn run(stream: Stream) -> Result<(), Reason> {
    let _connected = Connected::new(stream.meter.clone());
    let mut reader = Reader::new(stream);
    let ended = reader.run().await;
    tracing::debug!(ignored = reader.decoder.ignored(), "the stream ended");
    ended
}

/// Tells that the stream is up, as long as it lives.
struct Connected(SourceMeter);

impl Connected {
    fn new(meter: SourceMeter) -> Self {
        meter.connected(true);
        Connected(meter)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connected(false);
        self.0.spooled(0);
    }
}

/// What the disk has done.
enum Disk {
    /// What was decoded may go on: what it held of transactions in progress is written.
    Written(io::Result<()>, Decoded),
    /// More of the transaction that is replayed was read.
    Filled(io::Result<BytesMut>),
}

struct Reader {
    core: Core<Permit>,
    socket: Socket,
    buffer: BytesMut,
    outbox: Outbox,
    /// Size of the piece of memory that the buffer grows by.
    chunk: usize,
    slot: String,
    publication: String,
    decoder: Decoder,
    /// Decoded, not handed on yet.
    block: Option<Block>,
    decoded: Option<Decoded>,
    streaming: Option<Streaming>,
    disk: Option<Granted<Disk>>,
    memory: Option<Granted<Permit>>,
    room: Option<Granted<Option<OwnedPermit<Block>>>>,
    ends: Ends,
    meter: SourceMeter,
    shutdown_notice: watch::Receiver<bool>,
}

impl Reader {
    fn new(stream: Stream) -> Self {
        let Stream { copying, start, slot, publication, decoder, ends, meter, timings, shutdown_notice, streaming } =
            stream;
        let Copying { socket, buffer } = copying;
        let gulp_max = (ends.budget.total() / GULP_SHARE).clamp(GULP_MIN, GULP_MAX);
        let core = Core::new(start, timings, gulp_max, prepare(&socket), Instant::now());
        Reader {
            core,
            socket,
            buffer,
            outbox: Outbox::default(),
            chunk: CHUNK_IDLE,
            slot,
            publication,
            decoder,
            block: ends.budget.try_take(0).map(|permit| resumed(start, permit)),
            decoded: None,
            streaming,
            disk: None,
            memory: None,
            room: None,
            ends,
            meter,
            shutdown_notice,
        }
    }

    async fn run(&mut self) -> Result<(), Reason> {
        let confirmed = *self.ends.confirm.borrow_and_update();
        let paused = *self.ends.paused.borrow_and_update();
        self.ask_room();
        let mut wakes = vec![Wake::Paused(paused), Wake::Confirmed(confirmed)];
        loop {
            let wake = match wakes.pop() {
                Some(wake) => wake,
                None => self.wait().await,
            };
            if let Wake::Read(bytes) = wake {
                self.account(bytes);
            }
            for action in self.core.decide(wake, Instant::now()) {
                if let ControlFlow::Break(ended) = self.perform(action).await {
                    return ended;
                }
            }
        }
    }

    /// The next thing that happens.
    async fn wait(&mut self) -> Wake<Permit, OwnedPermit<Block>> {
        if let Some(decoded) = self.decoded.take() {
            return Wake::Decoded(decoded);
        }
        if self.core.wants_look() {
            return self.look().map_or_else(|error| Wake::Ended(error.into()), Wake::Looked);
        }
        if self.core.wants_fill() && self.disk.is_none() {
            self.fill();
        }
        let Ends { confirm, paused, stop, .. } = &mut self.ends;
        let wanted = self.core.wants_bytes();
        let mut gulp =
            wanted.then_some(Gulp { buffer: &mut self.buffer, chunk: self.chunk, max: self.core.gulp_max() });
        tokio::select! {
            biased;
            () = noticed(&mut self.shutdown_notice) => Wake::Ended(ending::shutting_down()),
            // Before a stop, which may come along with it: the last update is to tell the newest position.
            lsn = changed(confirm) => Wake::Confirmed(lsn),
            // Whoever could stop us may also be gone: then nobody wants the stream either.
            _ = stop.wait_for(|stop| *stop) => Wake::Stop,
            () = sleep_until(self.core.deadline(Instant::now())) => Wake::Time,
            paused = changed(paused) => Wake::Paused(paused),
            memory = granted(&mut self.memory) => Wake::Memory(memory),
            done = granted(&mut self.disk) => proceed(self.streaming.as_mut(), done),
            room = granted(&mut self.room) => room.map_or_else(|| Wake::Ended(ending::unwanted()), Wake::Room),
            moved = poll_fn(|cx| poll_move(&mut self.socket, &mut self.outbox, gulp.as_mut(), cx)) => match moved {
                Moved::Read(bytes) => Wake::Read(bytes),
                Moved::Written(confirmed) => {
                    self.meter.confirmed(confirmed);
                    Wake::Written
                }
                Moved::Closed => Wake::Ended(ending::closed()),
                Moved::Broken(error) => Wake::Ended(ending::broken(&error)),
            },
        }
    }

    async fn perform(&mut self, action: Action<Permit, OwnedPermit<Block>>) -> ControlFlow<Result<(), Reason>> {
        match action {
            Action::Sleep(asleep) => self.sleep(asleep),
            Action::AskMemory(bytes) => {
                let budget = self.ends.budget.clone();
                self.memory = Some(Box::pin(async move { budget.take(bytes).await }));
            }
            Action::Grow(bytes) => {
                let input = input(&mut self.streaming, &mut self.buffer);
                let mut grown = BytesMut::with_capacity(bytes);
                grown.extend_from_slice(input);
                *input = grown;
            }
            Action::Decode(found, memory) => self.decode(found, memory),
            Action::AskRoom => self.ask_room(),
            Action::Send(room) => drop(self.block.take().map(|block| room.send(block))),
            Action::Tell(update) => self.outbox.put(update),
            Action::Finish(update) => {
                self.finish(update).await;
                return ControlFlow::Break(Ok(()));
            }
            Action::Fail(reason) => return ControlFlow::Break(Err(reason)),
        }
        ControlFlow::Continue(())
    }

    fn ask_room(&mut self) {
        let blocks = self.ends.blocks.clone();
        self.room = Some(Box::pin(async move { blocks.reserve_owned().await.ok() }));
    }

    fn sleep(&self, asleep: bool) {
        let bytes = if asleep { i32::MAX } else { 1 };
        if let Some(Err(error)) = self.socket.tcp().map(|tcp| low_water::set(tcp, bytes)) {
            // Then the reader is woken more often than it need be.
            tracing::debug!(%error, bytes, "the low-water mark could not be set");
        }
    }

    /// Keeps account of a read.
    fn account(&mut self, bytes: usize) {
        self.meter.received(bytes as u64, Lsn::INVALID);
        self.chunk = if bytes > CHUNK_IDLE / 2 { CHUNK } else { CHUNK_IDLE };
    }

    fn decode(&mut self, found: Found, permit: Permit) {
        let input = input(&mut self.streaming, &mut self.buffer);
        let frame = take_frame(input, found.bytes, self.core.gulp_max());
        let mut events = Vec::with_capacity(found.messages);
        let mut decoded = Decoded::default();
        for (tag, body) in framing::messages(&frame) {
            let read = match tag {
                b'd' => {
                    let to = (&mut self.decoder, self.streaming.as_mut());
                    copy_data(to, &frame, body, &mut events, &mut decoded)
                }
                _ => self.beside(tag, body),
            };
            if let Err(reason) = read {
                decoded.ended = Some(match &mut self.streaming {
                    Some(streaming) => streaming.ended(reason),
                    None => reason,
                });
                break;
            }
        }
        self.meter.received(0, decoded.reached);
        decoded.events = !events.is_empty();
        let mut permit = Some(permit);
        if decoded.events {
            self.block = permit.take().map(|permit| Block { events, permit, bytes: frame.len() });
        }
        let writes = self.streaming.as_mut().map(|streaming| streaming.read(&frame, &mut self.decoder));
        decoded.replaying = self.streaming.as_ref().is_some_and(Streaming::replaying);
        match writes {
            Some(writes) if !writes.is_empty() => {
                self.disk = Some(Box::pin(async move {
                    let written = streaming::write(writes).await;
                    drop(permit);
                    Disk::Written(written, decoded)
                }));
            }
            _ => self.decoded = Some(decoded),
        }
    }

    fn look(&self) -> Result<Found, framing::FramingError> {
        let most = self.core.gulp_max();
        match &self.streaming {
            Some(streaming) => streaming.look(&self.buffer, most),
            None => framing::find(&self.buffer, most),
        }
    }

    fn fill(&mut self) {
        let most = self.core.gulp_max();
        if let Some(read) = self.streaming.as_mut().and_then(|streaming| streaming.fill(most)) {
            self.disk = Some(Box::pin(async move { Disk::Filled(read.await) }));
        }
    }

    /// Reads a message that is not CopyData. Tags: PostgreSQL 18 documentation, 54.7 "Message Formats".
    fn beside(&self, tag: u8, body: &[u8]) -> Result<(), Reason> {
        match tag {
            b'E' => {
                let asked = Asked::Stream { slot: &self.slot, publication: &self.publication };
                Err(ending::refused(body, &asked))
            }
            // CommandComplete that nobody asked for: the walsender has sent everything, and the server goes down.
            b'C' => Err(ending::shutting_down()),
            b'c' => Err(ending::copy_done()),
            // NoticeResponse, ParameterStatus, NotificationResponse: of no meaning to a stream.
            b'N' | b'S' | b'A' => Ok(()),
            _ => Err(ending::unreadable(format!("the server sent a message with tag 0x{tag:02x} within the stream"))),
        }
    }

    /// Says goodbye in order; gives up after [`FINISH_MAX`].
    async fn finish(&mut self, update: Update) {
        self.sleep(false);
        self.outbox.put(update);
        self.outbox.bytes.extend_from_slice(COPY_DONE);
        match timeout(FINISH_MAX, self.drain()).await {
            Ok(Ok(())) => tracing::debug!(confirmed = %update.confirmed, "the stream was ended in order"),
            Ok(Err(error)) => tracing::debug!(%error, "the connection broke while the stream was ended"),
            Err(_) => tracing::debug!("the server did not end the stream in time"),
        }
    }

    /// Throws away what still comes until the server is ready for the next command, then ends the session.
    async fn drain(&mut self) -> io::Result<()> {
        loop {
            let mut gulp = Gulp { buffer: &mut self.buffer, chunk: CHUNK, max: GULP_MAX };
            match poll_fn(|cx| poll_move(&mut self.socket, &mut self.outbox, Some(&mut gulp), cx)).await {
                Moved::Written(confirmed) => self.meter.confirmed(confirmed),
                Moved::Read(_) => {}
                Moved::Closed => return Ok(()),
                Moved::Broken(error) => return Err(error),
            }
            let found = framing::find(&self.buffer, usize::MAX).map_err(io::Error::other)?;
            let ready = framing::messages(&self.buffer[..found.bytes]).any(|(tag, _)| tag == b'Z');
            self.buffer.advance(found.bytes);
            if ready {
                self.socket.write_all(TERMINATE).await?;
                return self.socket.shutdown().await;
            }
            if found.partial > Some(GULP_MAX) {
                return Err(io::Error::other("a large message is still on its way"));
            }
        }
    }
}

/// Sets the socket up for holds; whether it can do them. See `pace`.
fn prepare(socket: &Socket) -> bool {
    let Some(tcp) = socket.tcp() else { return false };
    let near = tcp.local_addr().and_then(|ours| Ok(pace::near(ours.ip(), tcp.peer_addr()?.ip())));
    let buffer = if near.unwrap_or(false) { pace::BUFFER } else { pace::BUFFER_FAR };
    match low_water::bound_buffer(tcp, buffer).and_then(|()| low_water::set(tcp, 1)) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "reads are not held off: the socket has no low-water mark");
            false
        }
    }
}

/// Takes the first bytes out of the buffer.
fn take_frame(buffer: &mut BytesMut, bytes: usize, gulp_max: usize) -> Bytes {
    let frame = buffer.split_to(bytes).freeze();
    if bytes > gulp_max {
        // What follows a large message must not keep its memory.
        *buffer = BytesMut::from(&buffer[..]);
    }
    frame
}

fn resumed(at: Lsn, permit: Permit) -> Block {
    Block { events: vec![Event::Resumed { at }], permit, bytes: 0 }
}

/// Goes on once the disk has done something.
fn proceed<M, R>(streaming: Option<&mut Streaming>, disk: Disk) -> Wake<M, R> {
    let Some(streaming) = streaming else { return Wake::Filled };
    let done = match disk {
        Disk::Written(Ok(()), decoded) => Ok(Wake::Decoded(decoded)),
        Disk::Written(Err(error), _) => Err(streaming.unusable(error)),
        Disk::Filled(read) => streaming.filled(read).map(|()| Wake::Filled),
    };
    done.unwrap_or_else(Wake::Ended)
}

/// What is decoded: see [`Streaming::input`].
fn input<'a>(streaming: &'a mut Option<Streaming>, socket: &'a mut BytesMut) -> &'a mut BytesMut {
    match streaming {
        Some(streaming) => streaming.input(socket),
        None => socket,
    }
}

/// Reads one payload of CopyData.
#[inline]
fn copy_data(
    (decoder, streaming): (&mut Decoder, Option<&mut Streaming>),
    frame: &Bytes,
    payload: &[u8],
    events: &mut Vec<Event>,
    decoded: &mut Decoded,
) -> Result<(), Reason> {
    match Envelope::decode(payload) {
        Ok(Envelope::Data { start, message, .. }) => {
            decoded.reached = decoded.reached.max(start);
            decoded.changes = true;
            if let Some(streaming) = streaming
                && streaming.takes((frame, payload), (start, message), decoder)?
            {
                return Ok(());
            }
            Ok(decoder.decode(frame, message, events)?)
        }
        Ok(Envelope::Keepalive { wal_end, reply, .. }) => {
            decoded.reached = decoded.reached.max(wal_end);
            decoded.asked += u32::from(reply);
            let within_a_part = streaming.is_some_and(|streaming| {
                streaming.heard(wal_end);
                streaming.is_open()
            });
            if !within_a_part {
                decoder.keepalive(wal_end, events);
            }
            Ok(())
        }
        Err(error) => Err(ending::unreadable(error.to_string())),
    }
}

/// Waits until the server's wish to stop is told; for ever if nobody can tell it.
async fn noticed(notice: &mut watch::Receiver<bool>) {
    if notice.wait_for(|noticed| *noticed).await.is_err() {
        pending::<()>().await;
    }
}

/// Waits for a new value; for ever if there can be none.
async fn changed<T: Copy>(value: &mut watch::Receiver<T>) -> T {
    if value.changed().await.is_err() {
        pending::<()>().await;
    }
    *value.borrow_and_update()
}

/// Waits for what was asked for; for ever if nothing was. The wait keeps its place in the queue.
async fn granted<T>(asked: &mut Option<Granted<T>>) -> T {
    match asked {
        Some(grant) => {
            let granted = grant.await;
            *asked = None;
            granted
        }
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
