//! Finds whole messages of the frontend/backend protocol in received bytes.
//!
//! In: bytes that start with a message. Out: how many of them are whole messages, and the messages one by one. Always:
//! a length is believed only up to [`LENGTH_MAX`]. Not here: what a message says. Format: PostgreSQL 18
//! documentation, 54.7 "Message Formats": a tag byte, an int32 length that counts itself, then the body.

/// Longest message that is believed. PostgreSQL cannot build a message of 1 GiB; the rest is room for headers.
const LENGTH_MAX: usize = (1 << 30) + (1 << 16);

/// Tag and length.
pub(super) const HEADER: usize = 5;

/// The bytes cannot be cut into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a message with tag 0x{tag:02x} and the impossible length {length}")]
pub(super) struct FramingError {
    tag: u8,
    length: u32,
}

/// What a look at received bytes found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Bytes of whole messages at the start.
    pub(super) bytes: usize,
    /// How many messages these are.
    pub(super) messages: usize,
    /// Size of the message that follows them and is not whole yet, where its length is already known.
    pub(super) partial: Option<usize>,
}

/// Looks for whole messages, at most so many that their bytes do not exceed `bytes_max`, but at least one.
///
/// # Errors
/// [`FramingError`] for an impossible length.
pub(super) fn find(bytes: &[u8], bytes_max: usize) -> Result<Found, FramingError> {
    find_to(bytes, bytes_max, |_| false)
}

/// The same, and none behind the first that `ends`.
///
/// # Errors
/// [`FramingError`] for an impossible length.
#[inline]
pub(super) fn find_to(bytes: &[u8], bytes_max: usize, ends: impl Fn(&[u8]) -> bool) -> Result<Found, FramingError> {
    let mut found = Found::default();
    loop {
        let size = match size(&bytes[found.bytes..]) {
            Ok(Some(size)) => size,
            // What came before an impossible length is good; the next look meets it at the start.
            Err(error) if found.messages == 0 => return Err(error),
            Ok(None) | Err(_) => break,
        };
        let end = found.bytes + size;
        if end > bytes.len() {
            found.partial = Some(size);
            break;
        }
        if end > bytes_max && found.messages > 0 {
            break;
        }
        let last = ends(&bytes[found.bytes..end]);
        found.bytes = end;
        found.messages += 1;
        if last {
            break;
        }
    }
    Ok(found)
}

/// The message at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First<'a> {
    /// Its size, header included, once that is there.
    pub(super) size: Option<usize>,
    /// Tag and body, once all of it is there.
    pub(super) whole: Option<(u8, &'a [u8])>,
}

/// Looks at the message at the start.
///
/// # Errors
/// [`FramingError`] for an impossible length.
#[inline]
pub(super) fn first(bytes: &[u8]) -> Result<First<'_>, FramingError> {
    let size = size(bytes)?;
    let whole = size.and_then(|size| bytes.get(..size)).map(|message| (message[0], &message[HEADER..]));
    Ok(First { size, whole })
}

/// Size of the message at the start, header included; `None` if not even its header is there.
#[inline]
fn size(bytes: &[u8]) -> Result<Option<usize>, FramingError> {
    let Some((&tag, rest)) = bytes.split_first() else { return Ok(None) };
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    match length as usize {
        size @ 4..=LENGTH_MAX => Ok(Some(size + 1)),
        _ => Err(FramingError { tag, length }),
    }
}

/// The messages in bytes of which [`find`] said that they are whole: tag and body.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let size = size(bytes).ok()??;
        let (message, rest) = bytes.split_at_checked(size)?;
        bytes = rest;
        Some((message[0], &message[HEADER..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_is_given_once_it_is_whole() {
        let bytes = b"d\0\0\0\x06abc";
        type Case = (usize, Option<usize>, Option<(u8, &'static [u8])>);
        let cases: [Case; 5] = [
            (0, None, None),
            (4, None, None),
            (5, Some(7), None),
            (6, Some(7), None),
            (8, Some(7), Some((b'd', b"ab"))),
        ];
        for (length, size, whole) in cases {
            assert_eq!(first(&bytes[..length]), Ok(First { size, whole }), "{length}");
        }
        assert!(first(b"d\0\0\0\x03").is_err());
    }

    #[test]
    fn whole_messages_are_found_up_to_the_bound() {
        let bytes = b"d\0\0\0\x06abd\0\0\0\x04d\0\0\0\x09abc";
        let found = |bytes, messages, partial| Ok(Found { bytes, messages, partial });
        type Case<'a> = (&'a str, &'a [u8], usize, Result<Found, FramingError>);
        let cases: &[Case<'_>] = &[
            ("nothing", b"", 99, found(0, 0, None)),
            ("half a header", b"d\0\0", 99, found(0, 0, None)),
            ("two and a part", bytes, 99, found(12, 2, Some(10))),
            ("two and half a header", &bytes[..15], 99, found(12, 2, None)),
            ("bounded", bytes, 11, found(7, 1, None)),
            ("one is always taken", bytes, 1, found(7, 1, None)),
            ("good before bad", b"d\0\0\0\x04d\0\0\0\x03", 99, found(5, 1, None)),
            ("too short", b"d\0\0\0\x03", 99, Err(FramingError { tag: b'd', length: 3 })),
            ("too long", b"w\xff\xff\xff\xff", 99, Err(FramingError { tag: b'w', length: u32::MAX })),
        ];
        for (name, bytes, bytes_max, want) in cases {
            assert_eq!(find(bytes, *bytes_max), *want, "{name}");
        }
        let want: [(u8, &[u8]); 2] = [(b'd', b"ab"), (b'd', b"")];
        assert_eq!(messages(&bytes[..12]).collect::<Vec<_>>(), want);
    }
}
