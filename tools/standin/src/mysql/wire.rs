//! Packets and the integers and strings inside them.
//!
//! In: a byte stream. Out: whole payloads, with their sequence numbers kept; and the reverse.
//! Always: a length taken from the peer is checked against what is there before it is used, and a payload is bounded.
//! Not here: what a payload means (`connection`, `handshake`, `resultset`).
//! MySQL documentation, "Protocol Basics": MySQL Packets, Basic Data Types.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Payload of one packet, at most; a full one is followed by another.
pub(super) const PACKET_BYTES_MAX: usize = 0xFF_FFFF;
/// `max_allowed_packet` of a StarRocks frontend, in bytes.
pub(super) const ALLOWED_PACKET_BYTES: usize = 33_554_432;

/// A client sent what the protocol does not allow.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The connection itself.
    #[error("mysql connection")]
    Io(#[from] io::Error),
    /// A field is longer than what is left of the packet.
    #[error("{field} needs {need} bytes, {left} left")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Bytes it needs.
        need: u64,
        /// Bytes there are.
        left: usize,
    },
    /// The payload is over `max_allowed_packet`.
    #[error("packet of more than {ALLOWED_PACKET_BYTES} bytes")]
    TooLong,
    /// Packets out of order.
    #[error("packet number {found}, expected {expected}")]
    Sequence {
        /// What came.
        found: u8,
        /// What should have.
        expected: u8,
    },
}

/// Reads fields off a payload.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Over a whole payload.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether everything has been read.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `need` bytes; every other reader goes through here.
    pub(super) fn take(&mut self, field: &'static str, need: u64) -> Result<&'a [u8], WireError> {
        let left = self.bytes.len();
        match usize::try_from(need) {
            Ok(length) if length <= left => {
                let (head, tail) = self.bytes.split_at(length);
                self.bytes = tail;
                Ok(head)
            }
            _ => Err(WireError::Truncated { field, need, left }),
        }
    }

    /// Little-endian integer of `length` (1 to 8) bytes.
    pub(super) fn integer(&mut self, field: &'static str, length: u64) -> Result<u64, WireError> {
        let bytes = self.take(field, length)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// One byte.
    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, WireError> {
        Ok(self.take(field, 1)?[0])
    }

    /// Length-encoded integer. NULL (0xFB) and the error mark (0xFF) read as 0.
    pub(super) fn length(&mut self, field: &'static str) -> Result<u64, WireError> {
        match self.byte(field)? {
            0xFC => self.integer(field, 2),
            0xFD => self.integer(field, 3),
            0xFE => self.integer(field, 8),
            0xFB | 0xFF => Ok(0),
            small => Ok(u64::from(small)),
        }
    }

    /// Length-encoded string.
    pub(super) fn string(&mut self, field: &'static str) -> Result<&'a [u8], WireError> {
        let length = self.length(field)?;
        self.take(field, length)
    }

    /// String that ends with a NUL, or with the payload.
    pub(super) fn until_nul(&mut self) -> &'a [u8] {
        let length = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(self.bytes.len());
        let (head, tail) = self.bytes.split_at(length);
        self.bytes = tail.get(1..).unwrap_or_default();
        head
    }
}

/// Appends a length-encoded integer.
pub(super) fn put_length(into: &mut Vec<u8>, number: u64) {
    let bytes = number.to_le_bytes();
    match number {
        0..=0xFA => into.push(bytes[0]),
        0xFB..=0xFFFF => {
            into.push(0xFC);
            into.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xFF_FFFF => {
            into.push(0xFD);
            into.extend_from_slice(&bytes[..3]);
        }
        _ => {
            into.push(0xFE);
            into.extend_from_slice(&bytes);
        }
    }
}

/// Appends a length-encoded string.
pub(super) fn put_string(into: &mut Vec<u8>, bytes: &[u8]) {
    put_length(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// The payload stream of one connection.
pub(super) struct Channel<S> {
    stream: S,
    next_sequence: u8,
    outgoing: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// Over a fresh connection.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, next_sequence: 0, outgoing: Vec::new() }
    }

    /// A command begins: sequence numbers start again.
    pub(super) fn begin_command(&mut self) {
        self.next_sequence = 0;
    }

    /// The next payload, joined if it was split; `None` when the peer has closed between payloads.
    pub(super) async fn receive(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            if payload.is_empty() {
                if self.stream.read(&mut header[..1]).await? == 0 {
                    return Ok(None);
                }
                self.stream.read_exact(&mut header[1..]).await?;
            } else {
                self.stream.read_exact(&mut header).await?;
            }
            let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            if header[3] != self.next_sequence {
                return Err(WireError::Sequence { found: header[3], expected: self.next_sequence });
            }
            self.next_sequence = self.next_sequence.wrapping_add(1);
            let have = payload.len();
            if have + length > ALLOWED_PACKET_BYTES {
                return Err(WireError::TooLong);
            }
            payload.resize(have + length, 0);
            self.stream.read_exact(&mut payload[have..]).await?;
            if length < PACKET_BYTES_MAX {
                return Ok(Some(payload));
            }
        }
    }

    /// Queues a payload, split where it is too long for one packet.
    pub(super) fn queue(&mut self, payload: &[u8]) {
        let mut rest = payload;
        loop {
            let (head, tail) = rest.split_at(rest.len().min(PACKET_BYTES_MAX));
            let length = (head.len() as u32).to_le_bytes();
            self.outgoing.extend_from_slice(&length[..3]);
            self.outgoing.push(self.next_sequence);
            self.next_sequence = self.next_sequence.wrapping_add(1);
            self.outgoing.extend_from_slice(head);
            rest = tail;
            // A full packet says "more follows", so an exact multiple ends with an empty one.
            if head.len() < PACKET_BYTES_MAX {
                return;
            }
        }
    }

    /// Queued bytes, for callers that send a long result in pieces.
    pub(super) fn queued_bytes(&self) -> usize {
        self.outgoing.len()
    }

    /// Sends everything queued.
    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        let outgoing = std::mem::take(&mut self.outgoing);
        self.stream.write_all(&outgoing).await?;
        self.stream.flush().await?;
        self.outgoing = outgoing;
        self.outgoing.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_back() {
        for number in [0, 0xFA, 0xFB, 0xFFFF, 0x1_0000, 0xFF_FFFF, 0x100_0000, u64::MAX] {
            let mut bytes = Vec::new();
            put_length(&mut bytes, number);
            assert_eq!(Fields::new(&bytes).length("n").expect("whole"), number);
            for end in 0..bytes.len() {
                assert!(Fields::new(&bytes[..end]).length("n").is_err(), "{number} cut at {end}");
            }
        }
    }

    #[test]
    fn a_length_beyond_the_packet_is_an_error() {
        assert!(Fields::new(&[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]).string("s").is_err());
    }

    #[tokio::test]
    async fn long_payloads_are_split_and_joined() {
        for length in [0, 1, PACKET_BYTES_MAX - 1, PACKET_BYTES_MAX, PACKET_BYTES_MAX + 5] {
            let (near, far) = tokio::io::duplex(1 << 20);
            let (mut sender, mut receiver) = (Channel::new(near), Channel::new(far));
            let payload = vec![7; length];
            let sending = async {
                sender.queue(&payload);
                sender.flush().await.expect("sent");
            };
            let (_, received) = tokio::join!(sending, receiver.receive());
            assert_eq!(received.expect("received"), Some(payload), "{length} bytes");
        }
    }
}
