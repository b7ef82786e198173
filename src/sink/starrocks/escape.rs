//! JSON strings: escaping what must be escaped, fast where nothing must.

/// Bytes looked at in one step. The loop over them has no early end, so that the compiler turns it into vector code.
const STEP: usize = 32;

#[inline]
fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Length of the longest start of `bytes` in which nothing must be escaped.
#[inline]
fn clean(bytes: &[u8]) -> usize {
    let mut at = 0;
    for step in bytes.chunks_exact(STEP) {
        let dirty = step.iter().fold(false, |dirty, byte| dirty | must_escape(*byte));
        if dirty {
            break;
        }
        at += STEP;
    }
    // Most values are shorter than a step, and text with quotes meets one in every few.
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let dirty = dirty_bytes(u64::from_le_bytes(*word));
        if dirty != 0 {
            return at + dirty.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + clean_plain(&bytes[at..])
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
fn clean_plain(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| must_escape(*byte)).unwrap_or(bytes.len())
}

/// Appends the text as a JSON string with its quotes (RFC 8259, section 7); whether it holds U+0000. The bytes are
/// taken to be UTF-8.
pub(super) fn string(text: &[u8], out: &mut Vec<u8>) -> bool {
    let mut nul = false;
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, after) = rest.split_at(clean(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = after.split_first() else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                nul |= *byte == 0;
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        rest = after;
    }
    out.push(b'"');
    nul
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(body: &[u8]) -> String {
        sonic_rs::from_slice(body).unwrap()
    }

    #[test]
    fn every_character_comes_back() {
        let mut all = String::new();
        for c in '\0'..=char::MAX {
            all.push(c);
            let mut body = Vec::new();
            if c < '\u{3000}' {
                assert_eq!(string(c.to_string().as_bytes(), &mut body), c == '\0');
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
            prop_assert_eq!(clean(&bytes), clean_plain(&bytes));
        }

        #[test]
        fn clean_text_with_one_dirty_byte(length in 0_usize..130, at in 0_usize..130, byte in 0_u8..0x23) {
            let mut bytes = vec![b'a'; length];
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            prop_assert_eq!(clean(&bytes), clean_plain(&bytes));
        }

        #[test]
        fn text_comes_back(text in ".{0,80}[\\x00-\\x22\\\\]{0,40}.{0,80}") {
            let mut body = Vec::new();
            string(text.as_bytes(), &mut body);
            prop_assert_eq!(parsed(&body), text);
        }
    }
}
