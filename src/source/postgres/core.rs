//! What the stream's reader does next: decisions without I/O and without a clock.
//!
//! In: a [`Wake`] and the time. Out: [`Action`]s. Always: bytes are decoded only when memory for them is held; while
//! there is no memory, no room for a block, or a pause, nothing is read but the server still hears from us. Not here:
//! sockets, channels, decoding (`reader`). Start at [`Core::decide`].

use tokio::time::Instant;

use super::ending;
use super::framing::Found;
use super::pace::Pace;
use super::standby::{Feedback, Timings, Update};
use crate::model::{Block, Lsn, Reason};

/// What happened. `M` is a grant of memory, `R` a reserved place for a block.
#[derive(Debug)]
pub(super) enum Wake<M, R> {
    /// That many bytes were read.
    Read(usize),
    /// More of the transaction that is replayed was read.
    Filled,
    /// The received bytes were looked at.
    Looked(Found),
    /// The memory asked for is there.
    Memory(M),
    /// The messages were decoded.
    Decoded(Decoded),
    /// There is room for the block.
    Room(R),
    /// The last update was written.
    Written,
    /// This may be confirmed.
    Confirmed(Lsn),
    /// Reading is to pause, or to go on.
    Paused(bool),
    /// The stream is to end in order.
    Stop,
    /// The stream must end.
    Ended(Reason),
    /// [`Core::deadline`] has passed.
    Time,
}

/// What decoding a frame brought, apart from the events.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// Whether there are events to hand on.
    pub(super) events: bool,
    /// The newest position the frame told.
    pub(super) reached: Lsn,
    /// Whether it had a pgoutput message in it.
    pub(super) changes: bool,
    /// How often the server asked for an answer.
    pub(super) asked: u32,
    /// Why the stream ends behind this frame.
    pub(super) ended: Option<Reason>,
    /// Whether what comes next is a transaction that was put aside.
    pub(super) replaying: bool,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Action<M, R> {
    /// Let the socket wake nobody, or let it wake us at the first byte.
    Sleep(bool),
    /// Ask for that many bytes of memory.
    AskMemory(usize),
    /// Make the buffer large enough for one message of that size.
    Grow(usize),
    /// Decode that many bytes; the events hold the memory.
    Decode(Found, M),
    /// Ask for room for the block.
    AskRoom,
    /// Hand the block on.
    Send(R),
    /// Write an update.
    Tell(Update),
    /// Write the last update and close the connection in order.
    Finish(Update),
    /// Drop the connection at once.
    Fail(Reason),
}

/// Where what was received stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// To be looked at.
    Look,
    /// Not a whole message yet: more is to be read.
    Read,
    /// Waiting for memory for these messages; without a message, for the partial one.
    Memory(Found),
    /// Being decoded.
    Decode,
    /// Waiting for room for the block.
    Room,
}

/// The state of one stream. `M` is a grant of memory.
#[derive(Debug)]
pub(super) struct Core<M> {
    intake: Intake,
    /// Memory taken ahead for a message larger than a gulp.
    ahead: Option<M>,
    paused: bool,
    /// What is looked at and decoded is a transaction that was put aside. The socket waits.
    replaying: bool,
    /// Since when an update is being written.
    writing: Option<Instant>,
    feedback: Feedback,
    pace: Option<Pace>,
    /// Most bytes of one gulp.
    gulp_max: usize,
    /// To end with, once the block is handed on.
    ended: Option<Reason>,
}

impl<M> Core<M> {
    /// For a stream that starts at `start` with a block to hand on. `gulping` if the socket has a low-water mark.
    pub(super) fn new(start: Lsn, timings: Timings, gulp_max: usize, gulping: bool, now: Instant) -> Self {
        Core {
            intake: Intake::Room,
            ahead: None,
            paused: false,
            replaying: false,
            writing: None,
            feedback: Feedback::new(timings, start, now),
            pace: gulping.then(|| Pace::new(now)),
            gulp_max,
            ended: None,
        }
    }

    /// Whether the received bytes are to be looked at now. While paused they are left alone: some may have come along
    /// with the server's first answer.
    pub(super) fn wants_look(&self) -> bool {
        self.intake == Intake::Look && !self.paused
    }

    /// Whether to read from the socket.
    pub(super) fn wants_bytes(&self) -> bool {
        self.intake == Intake::Read && !self.paused && !self.holding() && !self.replaying
    }

    /// Whether to read more of the transaction that is replayed.
    pub(super) fn wants_fill(&self) -> bool {
        self.intake == Intake::Read && !self.paused && self.replaying
    }

    fn holding(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.held_until().is_some())
    }

    /// Most bytes of one gulp.
    pub(super) fn gulp_max(&self) -> usize {
        self.gulp_max
    }

    /// When to come back with [`Wake::Time`] at the latest.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let feedback = match self.writing {
            Some(since) => since + self.feedback.silence(),
            None => self.feedback.due(now),
        };
        let held_until = self.pace.as_ref().and_then(Pace::held_until);
        let silent_at = self.wants_bytes().then(|| self.feedback.silent_at());
        feedback.min(held_until.unwrap_or(feedback)).min(silent_at.unwrap_or(feedback))
    }

    /// What to do about what happened.
    pub(super) fn decide<R>(&mut self, wake: Wake<M, R>, now: Instant) -> Vec<Action<M, R>> {
        let reading = self.wants_bytes();
        let actions = match wake {
            Wake::Read(bytes) => self.read(bytes, now),
            Wake::Filled => self.filled(),
            Wake::Looked(found) => self.looked(found),
            Wake::Memory(memory) => self.memory(memory),
            Wake::Decoded(decoded) => self.decoded(decoded, now),
            Wake::Room(room) => self.room(room),
            Wake::Written => self.written(),
            Wake::Confirmed(lsn) => self.confirmed(lsn),
            Wake::Paused(paused) => self.pause(paused),
            Wake::Stop => vec![Action::Finish(self.feedback.update(now))],
            Wake::Ended(reason) => vec![Action::Fail(reason)],
            Wake::Time => self.time(now),
        };
        if !reading && self.wants_bytes() {
            // Silence counts only while we listen.
            self.feedback.listening(now);
        }
        actions
    }

    fn read<R>(&mut self, bytes: usize, now: Instant) -> Vec<Action<M, R>> {
        self.intake = Intake::Look;
        self.feedback.heard(now);
        if self.pace.as_mut().is_some_and(|pace| pace.read(bytes, now)) {
            return vec![Action::Sleep(true)];
        }
        Vec::new()
    }

    fn filled<R>(&mut self) -> Vec<Action<M, R>> {
        self.intake = Intake::Look;
        Vec::new()
    }

    fn looked<R>(&mut self, found: Found) -> Vec<Action<M, R>> {
        let cost = match (found.messages, found.partial) {
            (0, Some(size)) if size > self.gulp_max && self.ahead.is_none() => size + Block::ENTRY,
            (0, _) => {
                self.intake = Intake::Read;
                return Vec::new();
            }
            (messages, _) => found.bytes + messages * Block::ENTRY,
        };
        if let Some(memory) = self.ahead.take_if(|_| found.messages > 0) {
            self.intake = Intake::Decode;
            return vec![Action::Decode(found, memory)];
        }
        self.intake = Intake::Memory(found);
        vec![Action::AskMemory(cost)]
    }

    fn memory<R>(&mut self, memory: M) -> Vec<Action<M, R>> {
        let Intake::Memory(found) = self.intake else { return Vec::new() };
        if found.messages == 0 {
            self.ahead = Some(memory);
            self.intake = Intake::Read;
            return found.partial.map(Action::Grow).into_iter().collect();
        }
        self.intake = Intake::Decode;
        vec![Action::Decode(found, memory)]
    }

    fn decoded<R>(&mut self, decoded: Decoded, now: Instant) -> Vec<Action<M, R>> {
        self.replaying = decoded.replaying;
        self.feedback.received(decoded.reached, decoded.changes);
        let asked = (0..decoded.asked).map(|_| self.feedback.asked(now));
        if asked.fold(false, |flood, more| flood | more) {
            return vec![Action::Fail(ending::shutting_down())];
        }
        if decoded.events {
            self.intake = Intake::Room;
            self.ended = decoded.ended;
            return vec![Action::AskRoom];
        }
        self.intake = Intake::Look;
        decoded.ended.map(Action::Fail).into_iter().collect()
    }

    fn room<R>(&mut self, room: R) -> Vec<Action<M, R>> {
        self.intake = Intake::Look;
        let mut actions = vec![Action::Send(room)];
        actions.extend(self.ended.take().map(Action::Fail));
        actions
    }

    fn written<R>(&mut self) -> Vec<Action<M, R>> {
        self.writing = None;
        Vec::new()
    }

    fn confirmed<R>(&mut self, lsn: Lsn) -> Vec<Action<M, R>> {
        self.feedback.confirm(lsn);
        Vec::new()
    }

    fn pause<R>(&mut self, paused: bool) -> Vec<Action<M, R>> {
        self.paused = paused;
        Vec::new()
    }

    fn time<R>(&mut self, now: Instant) -> Vec<Action<M, R>> {
        let silent = self.wants_bytes() && self.feedback.silent_at() <= now;
        let stuck = self.writing.is_some_and(|since| since + self.feedback.silence() <= now);
        if silent || stuck {
            return vec![Action::Fail(ending::silent(self.feedback.silence()))];
        }
        let mut actions = Vec::new();
        if self.writing.is_none() && self.feedback.due(now) <= now {
            self.writing = Some(now);
            actions.push(Action::Tell(self.feedback.update(now)));
        }
        if let Some(pace) = self.pace.as_mut().filter(|pace| pace.held_until().is_some_and(|until| until <= now)) {
            pace.release();
            actions.push(Action::Sleep(false));
        }
        actions
    }
}

#[cfg(test)]
mod tests;
