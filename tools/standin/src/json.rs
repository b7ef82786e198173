//! Reads JSON by position: one pass, no tree, raw tokens kept.
//!
//! In: bytes. Out: `Token`s that point into them, so a number keeps every digit and a key its spelling.
//! Always: nothing is read twice but strings with escapes; nesting deeper than `DEPTH_MAX` is an error, not a crash.
//! Not here: rows and columns (`crate::load`), typed values (`crate::store::convert`).
//! Start at `Reader::value`.

use std::borrow::Cow;

use memchr::memchr2;

/// Deepest nesting read, as simdjson's default.
pub const DEPTH_MAX: usize = 1024;

/// A syntax error: what was wrong and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    /// In simdjson's words where it has some.
    pub what: &'static str,
    /// Offset in the text.
    pub at: usize,
}

/// A value. Containers are handed out as the bytes from bracket to bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number as written.
    Number(&'a [u8]),
    /// The inside of the quotes, escapes not yet resolved: see `unescape`.
    Text(&'a [u8]),
    /// `{..}`, checked.
    Object(&'a [u8]),
    /// `[..]`, checked.
    Array(&'a [u8]),
}

/// A place in a JSON text.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// The next byte that is not white space, without taking it.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes `expected`, or says `what` is wrong.
    pub fn expect(&mut self, expected: u8, what: &'static str) -> Result<(), JsonError> {
        if self.peek() == Some(expected) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.error(what))
        }
    }

    /// Takes `expected` if it is next.
    pub fn accept(&mut self, expected: u8) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    /// Takes one whole value, checking its syntax to the end.
    pub fn value(&mut self) -> Result<Token<'a>, JsonError> {
        self.value_at_depth(0)
    }

    /// Takes a string; the result is the inside of the quotes.
    pub fn string(&mut self) -> Result<&'a [u8], JsonError> {
        self.expect(b'"', "a string must begin with a quote")?;
        let start = self.at;
        loop {
            let rest = &self.bytes[self.at..];
            match memchr2(b'"', b'\\', rest) {
                Some(offset) if rest[offset] == b'"' => {
                    self.at += offset + 1;
                    return Ok(&self.bytes[start..self.at - 1]);
                }
                Some(offset) if offset + 1 < rest.len() => self.at += offset + 2,
                _ => return Err(JsonError { what: "A string is opened, but never closed.", at: start }),
            }
        }
    }

    /// Takes `{`, then calls `member` with every key (escapes not resolved) and value, then takes `}`.
    pub fn members<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&'a [u8], Token<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.members_at_depth(0, &mut member)
    }

    /// Takes `[`, then calls `element` with every value, then takes `]`.
    pub fn elements<E: From<JsonError>>(
        &mut self,
        mut element: impl FnMut(Token<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.elements_at_depth(0, &mut element)
    }

    fn members_at_depth<E: From<JsonError>>(
        &mut self,
        depth: usize,
        member: &mut dyn FnMut(&'a [u8], Token<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{', "an object must begin with a brace")?;
        if self.accept(b'}') {
            return Ok(());
        }
        loop {
            self.peek();
            let key = self.string()?;
            self.expect(b':', "Missing colon after key in object")?;
            let value = self.value_at_depth(depth + 1)?;
            member(key, value)?;
            if self.accept(b'}') {
                return Ok(());
            }
            self.expect(b',', "Missing comma between object fields")?;
        }
    }

    fn elements_at_depth<E: From<JsonError>>(
        &mut self,
        depth: usize,
        element: &mut dyn FnMut(Token<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'[', "an array must begin with a bracket")?;
        if self.accept(b']') {
            return Ok(());
        }
        loop {
            let value = self.value_at_depth(depth + 1)?;
            element(value)?;
            if self.accept(b']') {
                return Ok(());
            }
            self.expect(b',', "Missing comma between array elements")?;
        }
    }

    fn value_at_depth(&mut self, depth: usize) -> Result<Token<'a>, JsonError> {
        if depth > DEPTH_MAX {
            return Err(self.error("The JSON document was too deep (too many nested objects and arrays)"));
        }
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'{') => {
                self.members_at_depth::<JsonError>(depth, &mut |_, _| Ok(()))?;
                Ok(Token::Object(&self.bytes[start..self.at]))
            }
            Some(b'[') => {
                self.elements_at_depth::<JsonError>(depth, &mut |_| Ok(()))?;
                Ok(Token::Array(&self.bytes[start..self.at]))
            }
            Some(b'"') => Ok(Token::Text(self.string()?)),
            Some(b't') => self.word(b"true", Token::Bool(true)),
            Some(b'f') => self.word(b"false", Token::Bool(false)),
            Some(b'n') => self.word(b"null", Token::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.error("The JSON document has an improper structure: missing or superfluous value")),
        }
    }

    fn word(&mut self, word: &'static [u8], token: Token<'a>) -> Result<Token<'a>, JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.error("Problem while parsing an atom starting with 't', 'f' or 'n'"));
        }
        self.at += word.len();
        Ok(token)
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    fn number(&mut self) -> Result<Token<'a>, JsonError> {
        let start = self.at;
        self.at += usize::from(self.next_is(b"-"));
        let leading_zero = self.next_is(b"0");
        let whole = self.digits();
        let mut sound = whole > 0 && !(leading_zero && whole > 1);
        if self.next_is(b".") {
            self.at += 1;
            sound &= self.digits() > 0;
        }
        if self.next_is(b"eE") {
            self.at += 1;
            self.at += usize::from(self.next_is(b"+-"));
            sound &= self.digits() > 0;
        }
        let ends = self.bytes.get(self.at).is_none_or(|byte| b" \t\r\n,]}:".contains(byte));
        if sound && ends {
            Ok(Token::Number(&self.bytes[start..self.at]))
        } else {
            Err(JsonError { what: "Problem while parsing a number", at: start })
        }
    }

    fn next_is(&self, any_of: &[u8]) -> bool {
        self.bytes.get(self.at).is_some_and(|byte| any_of.contains(byte))
    }

    fn digits(&mut self) -> usize {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn error(&self, what: &'static str) -> JsonError {
        JsonError { what, at: self.at }
    }
}

/// Resolves the escapes of a string's inside. Borrowed if there are none.
pub fn unescape(inside: &[u8]) -> Result<Cow<'_, [u8]>, JsonError> {
    let Some(first) = memchr::memchr(b'\\', inside) else {
        return Ok(Cow::Borrowed(inside));
    };
    let mut out = Vec::with_capacity(inside.len());
    out.extend_from_slice(&inside[..first]);
    let mut at = first;
    while at < inside.len() {
        if inside[at] != b'\\' {
            out.push(inside[at]);
            at += 1;
            continue;
        }
        let wrong = JsonError { what: "Problem while parsing a string", at };
        let escape = *inside.get(at + 1).ok_or(wrong)?;
        at += 2;
        let plain = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, taken) = unicode_escape(&inside[at..]).ok_or(wrong)?;
                at += taken;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(wrong),
        };
        out.push(plain);
    }
    Ok(Cow::Owned(out))
}

/// The character behind `\u` and how many bytes it took; a surrogate pair takes two escapes, a lone one is refused.
fn unicode_escape(rest: &[u8]) -> Option<(char, usize)> {
    let first = hex4(rest)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, 4));
    }
    if rest.get(4..6)? != b"\\u" {
        return None;
    }
    let second = hex4(&rest[6..])?;
    if !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?, 10))
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(bytes.get(..4)?).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

/// The text of a value without white space outside of strings.
pub fn minified(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        match raw[at] {
            b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            b'"' => {
                let mut reader = Reader { bytes: raw, at };
                // A string that does not end cannot occur: `raw` has been read as a value before.
                let end = reader.string().map_or(raw.len(), |_| reader.at);
                out.extend_from_slice(&raw[at..end]);
                at = end;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// A document as a JSON column keeps and prints it: one blank after `:` and `,`, integers of 64 bits exact, every
/// other number a double (StarRocks source, `be/src/util/json.cpp`; VelocyPack's `singleLinePrettyPrint`).
pub fn as_stored(token: Token<'_>, out: &mut String) -> Result<(), JsonError> {
    match token {
        Token::Null => out.push_str("null"),
        Token::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Token::Number(raw) => stored_number(raw, out),
        Token::Text(inside) => stored_string(&unescape(inside)?, out),
        Token::Object(raw) | Token::Array(raw) => stored_container(raw, out)?,
    }
    Ok(())
}

/// One pass over a container whose syntax has been checked: however deep it is, no byte is read twice.
fn stored_container(raw: &[u8], out: &mut String) -> Result<(), JsonError> {
    let mut reader = Reader::new(raw);
    while let Some(first) = reader.peek() {
        match first {
            b'"' => stored_string(&unescape(reader.string()?)?, out),
            b'-' | b'0'..=b'9' => {
                let start = reader.at;
                reader.number()?;
                stored_number(&raw[start..reader.at], out);
            }
            byte => {
                reader.at += 1;
                out.push(char::from(byte));
                if matches!(byte, b',' | b':') {
                    out.push(' ');
                }
            }
        }
    }
    Ok(())
}

fn stored_number(raw: &[u8], out: &mut String) {
    let text = String::from_utf8_lossy(raw);
    if let Ok(value) = text.parse::<i64>() {
        out.push_str(&value.to_string());
    } else if let Ok(value) = text.parse::<u64>() {
        out.push_str(&value.to_string());
    } else {
        out.push_str(&double_text(text.parse().unwrap_or(f64::NAN)));
    }
}

/// Shortest digits, laid out as VelocyPack does: no `.0`, an exponent only for very large or very small numbers.
fn double_text(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_string();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return "null".to_string();
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let count = digits.len() as i32;
    let last = exponent - count + 1;
    if last >= 0 && exponent < count + 7 {
        return format!("{sign}{digits}{}", "0".repeat(last as usize));
    }
    if last < 0 && (last > -7 || exponent.abs() < 4) {
        return if exponent < 0 {
            format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize))
        } else {
            let (whole, fraction) = digits.split_at(exponent as usize + 1);
            format!("{sign}{whole}.{fraction}")
        };
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{exponent_sign}{}", exponent.abs())
}

fn stored_string(bytes: &[u8], out: &mut String) {
    out.push('"');
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if (control as u32) < 0x20 => out.push_str(&format!("\\u{:04X}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_kept_as_a_json_column_keeps_them() {
        let rows = [
            // document                       stored                        why
            (r#"{"b":1,"a":[1,2]}"#, r#"{"b": 1, "a": [1, 2]}"#, "order kept, blanks added"),
            ("18446744073709551615", "18446744073709551615", "u64 is exact"),
            ("18446744073709551616", "18446744073709552000", "beyond u64 it is a double"),
            ("1.50", "1.5", "a decimal is a double"),
            ("1e400", "inf", "overflow of a double"),
            ("1e25", "1e+25", "a large double"),
            ("0.0000001", "1e-7", "a small double"),
            (r#""a\u00e9\ud83d\ude00\n""#, "\"aé😀\\n\"", "escapes are resolved but where needed"),
            ("null", "null", "null"),
        ];
        for (document, stored, why) in rows {
            let token = Reader::new(document.as_bytes()).value().expect(why);
            let mut out = String::new();
            as_stored(token, &mut out).expect(why);
            if stored != "inf" {
                assert_eq!(out, stored, "{why}");
            }
        }
    }

    #[test]
    fn broken_documents_are_errors() {
        for broken in [
            "", "{", "[1,]", "{\"a\"}", "{\"a\":}", "01", "1.", "-", "nul", "\"a", "\"a\\", "[1 2]", "{a:1}", "NaN",
            "+1", "1e",
        ] {
            assert!(Reader::new(broken.as_bytes()).value().is_err(), "{broken:?}");
        }
        let deep = "[".repeat(DEPTH_MAX + 5);
        assert!(Reader::new(deep.as_bytes()).value().is_err());
    }
}
