//! Text in double quotes in which a backslash takes the next byte as it is: how PostgreSQL writes the parts of values
//! that have parts (`array_out`, `hstore_out`).

use std::borrow::Cow;

/// The text that starts at `bytes`, which begin with its opening quote, and what follows its closing quote. `None` if
/// it does not end.
pub(super) fn quoted(bytes: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let rest = bytes.strip_prefix(b"\"")?;
    let first = memchr::memchr2(b'"', b'\\', rest)?;
    if rest[first] == b'"' {
        return Some((Cow::Borrowed(&rest[..first]), &rest[first + 1..]));
    }
    let mut text = rest[..first].to_vec();
    let mut rest = &rest[first..];
    loop {
        match rest {
            [b'\\', taken, after @ ..] => {
                text.push(*taken);
                rest = after;
            }
            [b'"', after @ ..] => return Some((Cow::Owned(text), after)),
            _ => {
                let plain = memchr::memchr2(b'"', b'\\', rest).filter(|plain| *plain > 0)?;
                text.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_taken_off() {
        let cases = [
            (r#""""#, Some(("", ""))),
            (r#""a b",c"#, Some(("a b", ",c"))),
            (r#""a\"b\\c"}"#, Some((r#"a"b\c"#, "}"))),
            (r#""\\\\""#, Some((r"\\", ""))),
            (r#""\\"x"#, Some((r"\", "x"))),
            (r#""é\é""#, Some(("éé", ""))),
            ("", None),
            ("a", None),
            (r#"""#, None),
            (r#""a"#, None),
            (r#""a\"#, None),
            (r#""a\""#, None),
            (r#""a\"b"#, None),
        ];
        for (bytes, want) in cases {
            let got = quoted(bytes.as_bytes());
            let got = got.map(|(text, rest)| (text.into_owned(), rest));
            assert_eq!(got, want.map(|(text, rest)| (text.as_bytes().to_vec(), rest.as_bytes())), "{bytes}");
        }
    }
}
