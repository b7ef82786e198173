//! When to read in gulps.
//!
//! The walsender sends after each change. A reader that is woken by each of them makes the server pay for the wake-up
//! within its own `send`, and both sides spend most of their time so. While much flows the reader therefore asks to be
//! woken only when [`HIGH`] bytes wait, the receive buffer being bounded to [`BUFFER`] so that it fills meanwhile and
//! the server's `send` only appends. While little flows the first byte wakes the reader.
//!
//! Always: with the mark high, a moment without enough bytes ([`PATIENCE`]) lowers it, so that the tail of a burst is
//! never left waiting. Not here: the socket (`low_water`) and the clock. Start at [`Pace::read`].

use std::time::Duration;

use tokio::time::Instant;

/// Bytes that must wait before a busy reader is woken.
pub(super) const HIGH: i32 = 128 * 1024;

/// The receive buffer.
pub(super) const BUFFER: usize = 512 * 1024;

/// How long a busy reader waits for [`HIGH`] bytes.
const PATIENCE: Duration = Duration::from_millis(5);

/// Reads that follow each other within this time count as busy ...
const QUICK: Duration = Duration::from_millis(2);

/// ... and so do reads of that many bytes.
const BIG: usize = 32 * 1024;

/// So many busy reads in a row raise the mark.
const STREAK: u32 = 4;

/// Decides on the low-water mark from what the reads bring.
#[derive(Debug)]
pub(super) struct Pace {
    high: bool,
    streak: u32,
    read_at: Instant,
}

impl Pace {
    /// Begins with eager reads.
    pub(super) fn new(now: Instant) -> Self {
        Pace { high: false, streak: 0, read_at: now }
    }

    /// Bytes were read; the mark to set, if it is to change.
    pub(super) fn read(&mut self, bytes: usize, now: Instant) -> Option<i32> {
        let busy = bytes >= BIG || now - self.read_at < QUICK;
        self.streak = if busy { self.streak.saturating_add(1) } else { 0 };
        self.read_at = now;
        if self.high || self.streak < STREAK {
            return None;
        }
        self.high = true;
        Some(HIGH)
    }

    /// When to lower the mark.
    pub(super) fn patient_until(&self) -> Option<Instant> {
        self.high.then_some(self.read_at + PATIENCE)
    }

    /// Lowers the mark; the mark to set.
    pub(super) fn lower(&mut self) -> i32 {
        self.high = false;
        1
    }
}
