//! JSON strings: escaping what must be escaped, fast where nothing must.

/// Bytes looked at in one step. The loop over them has no early end, so that the compiler turns it into vector code.
const STEP: usize = 32;

#[inline]
fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The start of a text in which nothing must be escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clean {
    length: usize,
    /// Whether it is nothing but ASCII. It may be called false of a text that goes on behind it.
    ascii: bool,
}

/// The longest such start of `bytes`.
#[inline]
fn clean(bytes: &[u8]) -> Clean {
    let (mut at, mut high) = (0, 0);
    for step in bytes.chunks_exact(STEP) {
        let (dirty, or) = step.iter().fold((false, 0), |(dirty, or), byte| (dirty | must_escape(*byte), or | byte));
        if dirty {
            break;
        }
        high |= or;
        at += STEP;
    }
    // Most values are shorter than a step, and text with quotes meets one in every few.
    let mut rest = bytes[at..].chunks_exact(8);
    for word in rest.by_ref() {
        let word = word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let dirty = dirty_bytes(word);
        high |= or_of_bytes(word);
        if dirty != 0 {
            return Clean { length: at + dirty.trailing_zeros() as usize / 8, ascii: high < 0x80 };
        }
        at += 8;
    }
    let last = clean_plain(rest.remainder());
    Clean { length: at + last.length, ascii: last.ascii && high < 0x80 }
}

/// At least 0x80 if any byte is.
#[inline]
fn or_of_bytes(word: u64) -> u8 {
    if word & (u64::MAX / 255 * 0x80) == 0 { 0 } else { 0x80 }
}

/// Marks bytes that must be escaped by their highest bit. The lowest mark is true; above it there may be false ones,
/// because a subtraction borrows from the next byte.
#[inline]
fn dirty_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & (ONES << 7)
}

/// What [`clean`] does, byte by byte.
#[inline]
fn clean_plain(bytes: &[u8]) -> Clean {
    let length = bytes.iter().position(|byte| must_escape(*byte)).unwrap_or(bytes.len());
    Clean { length, ascii: bytes[..length].is_ascii() }
}

/// What was seen of a text while it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// It holds U+0000.
    pub(super) nul: bool,
    /// It is nothing but ASCII, so that it need not be checked to be UTF-8. May be false for text that is.
    pub(super) ascii: bool,
}

/// Appends the text as a JSON string with its quotes (RFC 8259, section 7). Bytes that are no ASCII are copied as they
/// are: whether they are UTF-8 is to be checked besides.
#[inline]
pub(super) fn string(text: &[u8], out: &mut Vec<u8>) -> Seen {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let first = clean(text);
    out.extend_from_slice(&text[..first.length]);
    let mut seen = Seen { nul: false, ascii: first.ascii };
    if first.length < text.len() {
        escaped(&text[first.length..], out, &mut seen);
    }
    out.push(b'"');
    seen
}

/// The rest of a text from the first byte that must be escaped.
fn escaped(mut rest: &[u8], out: &mut Vec<u8>, seen: &mut Seen) {
    while let Some((byte, after)) = rest.split_first() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                seen.nul |= *byte == 0;
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        let plain = clean(after);
        seen.ascii &= plain.ascii;
        out.extend_from_slice(&after[..plain.length]);
        rest = &after[plain.length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(body: &[u8]) -> String {
        sonic_rs::from_slice(body).unwrap()
    }

    fn agree(bytes: &[u8]) {
        let (fast, plain) = (clean(bytes), clean_plain(bytes));
        assert_eq!(fast.length, plain.length);
        assert!(fast.ascii == plain.ascii || !fast.ascii && fast.length < bytes.len(), "{bytes:?}");
    }

    #[test]
    fn every_character_comes_back() {
        let mut all = String::new();
        for c in '\0'..=char::MAX {
            all.push(c);
            let mut body = Vec::new();
            if c < '\u{3000}' {
                assert_eq!(string(c.to_string().as_bytes(), &mut body), Seen { nul: c == '\0', ascii: c.is_ascii() });
                assert_eq!(parsed(&body), c.to_string());
            }
        }
        let mut body = Vec::new();
        string(all.as_bytes(), &mut body);
        assert!(parsed(&body) == all, "all of Unicode in one string");
    }

    proptest! {
        #[test]
        fn the_fast_scan_agrees_with_the_plain_one(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            agree(&bytes);
        }

        #[test]
        fn clean_text_with_one_dirty_byte(length in 0_usize..130, at in 0_usize..130, byte in 0_u8..0x23) {
            let mut bytes = vec![b'a'; length];
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            agree(&bytes);
        }

        #[test]
        fn text_comes_back(text in ".{0,80}[\\x00-\\x22\\\\]{0,40}.{0,80}") {
            let mut body = Vec::new();
            let seen = string(text.as_bytes(), &mut body);
            prop_assert!(!seen.ascii || text.is_ascii(), "what is called ASCII is");
            prop_assert_eq!(parsed(&body), text);
        }
    }
}
