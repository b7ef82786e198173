//! One spelling for JSON documents that mean the same.
//!
//! In: a document's text. Out: members in order of their names, the last of equal names alone, numbers as digits and
//! an exponent, strings without escapes that are not needed. Always: total: what is no document, or is nested deeper
//! than [`DEPTH_MAX`], is appended as it is. StarRocks prints an ARRAY as JSON too, but for numbers that are none
//! (`nan`, `inf`). Start at [`append`].

use std::collections::BTreeMap;

use super::spelling::without_empty_fraction;

/// Deeper documents are compared by their text; the stack stays small.
const DEPTH_MAX: usize = 200;

/// What strings of a document stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strings {
    Themselves,
    /// A string of digits is the number, and a number that JSON has none for is a string.
    Numbers,
    /// A moment, with or without an empty fraction.
    Moments,
}

/// Appends the document.
pub(super) fn append(text: &[u8], strings: Strings, out: &mut Vec<u8>) {
    let start = out.len();
    let mut reader = Reader { rest: text, depth: 0, strings };
    if reader.value(out).is_none() || !reader.blank().is_empty() {
        out.truncate(start);
        out.extend_from_slice(text);
    }
}

/// Appends a string that holds these bytes. A quote and a backslash are escaped, so that the end is never in doubt.
pub(super) fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Appends a number if the text is one, else a string.
pub(super) fn number_or_string(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut reader = Reader { rest: text, depth: 0, strings: Strings::Themselves };
    if reader.number(out).is_none() || !reader.rest.is_empty() {
        out.truncate(start);
        string(text, out);
    }
}

/// Appends an object of members whose names and values are spelled.
pub(super) fn object(members: BTreeMap<Vec<u8>, Vec<u8>>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"" } else { b"," });
        out.extend_from_slice(&name);
        out.push(b':');
        out.extend_from_slice(&value);
    }
    out.push(b'}');
}

struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
    strings: Strings,
}

/// What StarRocks prints for numbers that JSON has none for, and PostgreSQL's word.
const NO_NUMBERS: [(&[u8], &[u8]); 3] = [(b"nan", b"NaN"), (b"inf", b"Infinity"), (b"-inf", b"-Infinity")];

/// Each method appends what it has read; `None` if it is not JSON.
impl Reader<'_> {
    /// What follows after blanks.
    fn blank(&mut self) -> &[u8] {
        let blanks = self.rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
        self.rest = &self.rest[blanks..];
        self.rest
    }

    fn taken(&mut self, wanted: &[u8]) -> bool {
        match self.blank().strip_prefix(wanted) {
            Some(_) => {
                self.rest = &self.rest[wanted.len()..];
                true
            }
            None => false,
        }
    }

    fn value(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let first = *self.blank().first()?;
        match first {
            b'{' | b'[' if self.depth == DEPTH_MAX => None,
            b'{' => self.nested(Reader::object, out),
            b'[' => self.nested(Reader::array, out),
            b'"' if self.strings == Strings::Themselves => self.string(out),
            b'"' => self.meant(out),
            _ if self.strings == Strings::Numbers && self.no_number(out) => Some(()),
            b'-' | b'0'..=b'9' => self.number(out),
            _ => {
                let word = [&b"true"[..], b"false", b"null"].into_iter().find(|word| self.rest.starts_with(word))?;
                self.rest = &self.rest[word.len()..];
                out.extend_from_slice(word);
                Some(())
            }
        }
    }

    fn no_number(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((word, meant)) = NO_NUMBERS.into_iter().find(|(word, _)| self.rest.starts_with(word)) else {
            return false;
        };
        self.rest = &self.rest[word.len()..];
        string(meant, out);
        true
    }

    /// A string that stands for something else.
    fn meant(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let mut text = Vec::new();
        self.string(&mut text)?;
        let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        match self.strings {
            Strings::Numbers if !inner.contains(&b'\\') => number_or_string(inner, out),
            Strings::Moments => {
                out.push(b'"');
                out.extend_from_slice(without_empty_fraction(inner));
                out.push(b'"');
            }
            Strings::Numbers | Strings::Themselves => out.extend_from_slice(&text),
        }
        Some(())
    }

    fn nested(&mut self, read: fn(&mut Self, &mut Vec<u8>) -> Option<()>, out: &mut Vec<u8>) -> Option<()> {
        self.rest = &self.rest[1..];
        self.depth += 1;
        let read = read(self, out);
        self.depth -= 1;
        read
    }

    fn array(&mut self, out: &mut Vec<u8>) -> Option<()> {
        out.push(b'[');
        if !self.taken(b"]") {
            loop {
                self.value(out)?;
                if self.taken(b"]") {
                    break;
                }
                self.taken(b",").then(|| out.push(b','))?;
            }
        }
        out.push(b']');
        Some(())
    }

    fn object(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let mut members: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        if !self.taken(b"}") {
            loop {
                let (mut name, mut value) = (Vec::new(), Vec::new());
                self.blank();
                self.string(&mut name)?;
                self.taken(b":").then_some(())?;
                self.value(&mut value)?;
                members.insert(name, value);
                if self.taken(b"}") {
                    break;
                }
                self.taken(b",").then_some(())?;
            }
        }
        object(members, out);
        Some(())
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.rest = self.rest.strip_prefix(b"\"")?;
        out.push(b'"');
        loop {
            let plain = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            out.extend_from_slice(&self.rest[..plain]);
            let mark = self.rest[plain];
            self.rest = &self.rest[plain + 1..];
            if mark == b'"' {
                out.push(b'"');
                return Some(());
            }
            self.escape(out)?;
        }
    }

    /// A quote and a backslash stay escaped, so that the end of a string is never in doubt; all else is itself.
    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let (kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        match kind {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *kind]),
            b'/' => out.push(b'/'),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0C),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => return self.unicode(out),
            _ => return None,
        }
        Some(())
    }

    fn unicode(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let unit = self.unit()?;
        let code = match unit {
            0xD800..=0xDBFF => {
                self.rest = self.rest.strip_prefix(b"\\u")?;
                let low = self.unit().filter(|low| (0xDC00..=0xDFFF).contains(low))?;
                0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
            }
            unit => unit,
        };
        match char::from_u32(code)? {
            c @ ('"' | '\\') => out.extend_from_slice(&[b'\\', c as u8]),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        Some(())
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// A number by its value: `[-]digits` without zeros at either end, and `e` with the power of ten they are times.
    fn number(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let length = self.rest.iter().take_while(|b| b.is_ascii_digit() || b"+-.eE".contains(b)).count();
        let (text, rest) = self.rest.split_at(length);
        if !super::number::is_json(text) {
            return None;
        }
        self.rest = rest;
        let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
            Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i64>().ok()?),
            None => (text, 0),
        };
        let digits = mantissa.strip_prefix(b"-").unwrap_or(mantissa);
        let fraction = digits.iter().position(|b| *b == b'.').map_or(0, |point| digits.len() - point - 1);
        let mut plain: Vec<u8> = digits.iter().copied().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0').collect();
        let significant = plain.iter().rposition(|b| *b != b'0').map_or(0, |last| last + 1);
        let power = exponent.saturating_sub(fraction as i64).saturating_add((plain.len() - significant) as i64);
        plain.truncate(significant);
        if plain.is_empty() {
            out.push(b'0');
            return Some(());
        }
        out.extend_from_slice(if mantissa.len() == digits.len() { b"" } else { b"-" });
        out.extend_from_slice(&plain);
        if power != 0 {
            out.extend_from_slice(format!("e{power}").as_bytes());
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> String {
        let mut out = Vec::new();
        append(text.as_bytes(), Strings::Themselves, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn documents_that_mean_the_same_have_one_spelling() {
        let cases = [
            (r#" {"b" : 1 , "a" : [ ] , "c" : { } } "#, r#"{"a":[],"b":1,"c":{}}"#),
            (r#"{"a": 1, "a": 2}"#, r#"{"a":2}"#),
            (r#"["\u0041\/\n", "\"", "\\", "\u0022"]"#, "[\"A/\n\",\"\\\"\",\"\\\\\",\"\\\"\"]"),
            (r#""\ud83d\ude00""#, "\"😀\""),
            ("[1.0, 1, 10e-1, 0.1e1]", "[1,1,1,1]"),
            ("[100, 1e2, 1E+2, 100.0]", "[1e2,1e2,1e2,1e2]"),
            ("[0, -0, 0.0, 0e5]", "[0,0,0,0]"),
            ("[-1.50, 0.00125, 12345678901234567890]", "[-15e-1,125e-5,1234567890123456789e1]"),
            ("[true, false, null]", "[true,false,null]"),
        ];
        for (text, want) in cases {
            assert_eq!(spelled(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_document_stays_as_it_is() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let bad = ["", "{", "[1,]", "{\"a\"}", "01", "1 2", "\"\\x\"", "\"\\ud83d\"", "\"\\u00", "nul", "[1 2]", "-"];
        for text in bad.into_iter().chain([deep.as_str()]) {
            assert_eq!(spelled(text), text);
        }
        let shallow = "[".repeat(DEPTH_MAX) + " " + &"]".repeat(DEPTH_MAX);
        assert_eq!(spelled(&shallow), shallow.replace(' ', ""));
    }
}
