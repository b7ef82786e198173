//! Cuts SQL text into tokens.
//!
//! In: one statement's text. Out: tokens with their place in it, the last one always `End`.
//! Always: every byte of the text is inside a token, a comment or white space; no text makes it panic.
//! Not here: what a statement means (`parser`), what a query means (`select`).
//! The rules are StarRocks' (`StarRocksLex.g4`): back-quotes quote names, single and double quotes both quote strings,
//! a backslash escapes inside strings, and a doubled quote stands for itself.

use super::error::SqlError;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A keyword or an unquoted name, as written.
    Word(String),
    /// A back-quoted name, without its quotes.
    Name(String),
    /// A string literal, without its quotes and with escapes undone.
    Text(String),
    /// Bytes written as `x'0aff'`.
    Hex(Vec<u8>),
    /// A number, as written.
    Number(String),
    /// `@@name` or `@name`, with the signs.
    Variable(String),
    /// An operator or a bracket.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Byte offset of its first byte.
    pub start: usize,
    /// Byte offset behind its last byte.
    pub end: usize,
}

// Longer symbols first: the first that fits is taken.
const SYMBOLS: &[&str] = &[
    "<=>", "->", "<=", ">=", "<>", "!=", "==", "||", "&&", "<<", ">>", ":=", "(", ")", "[", "]", "{", "}", ",", ";",
    ".", "=", "<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", "?", ":",
];

impl Token {
    /// Whether this is the unquoted word `word`, in any case.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(text) if text.eq_ignore_ascii_case(word))
    }

    /// Whether this is the symbol `symbol`.
    pub fn is_symbol(&self, symbol: &str) -> bool {
        matches!(&self.kind, TokenKind::Symbol(text) if *text == symbol)
    }
}

/// Line (from 1) and column (from 0, in characters) of a byte offset, as StarRocks reports places.
pub fn place(sql: &str, offset: usize) -> (usize, usize) {
    let before = &sql.as_bytes()[..offset.min(sql.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    // Counts characters by their first byte, so an offset inside a character cannot panic.
    let column = before[line_start..].iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    (line, column)
}

/// All tokens of `sql`.
pub fn tokens(sql: &str) -> Result<Vec<Token>, SqlError> {
    let mut lexer = Lexer { sql, bytes: sql.as_bytes(), at: 0, tokens: Vec::new() };
    while lexer.next_token()? {}
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn push(&mut self, kind: TokenKind, start: usize) {
        self.tokens.push(Token { kind, start, end: self.at });
    }

    fn error(&self, at: usize, detail: impl std::fmt::Display) -> SqlError {
        let (line, column) = place(self.sql, at);
        SqlError::syntax(line, column, detail)
    }

    /// Reads one token; false at the end.
    fn next_token(&mut self) -> Result<bool, SqlError> {
        self.skip_blank()?;
        let start = self.at;
        if start >= self.bytes.len() {
            self.push(TokenKind::End, start);
            return Ok(false);
        }
        match self.peek(0) {
            b'`' => {
                let name = self.quoted(b'`', false)?;
                self.push(TokenKind::Name(name), start);
            }
            quote @ (b'\'' | b'"') => {
                let text = self.quoted(quote, true)?;
                self.push(TokenKind::Text(text), start);
            }
            b'x' | b'X' if self.peek(1) == b'\'' => self.hex(start)?,
            b'0'..=b'9' => self.number(start),
            b'.' if self.peek(1).is_ascii_digit() && !self.after_name() => self.number(start),
            b'@' => self.variable(start),
            byte if is_word_start(byte) => {
                while is_word_part(self.peek(0)) {
                    self.at += 1;
                }
                let word = self.sql[start..self.at].to_owned();
                self.push(TokenKind::Word(word), start);
            }
            _ => self.symbol(start)?,
        }
        Ok(true)
    }

    /// Whether the token just before, without a blank between, is a name: then a dot separates names.
    fn after_name(&self) -> bool {
        matches!(self.tokens.last(), Some(token) if token.end == self.at
            && matches!(token.kind, TokenKind::Word(_) | TokenKind::Name(_)))
    }

    fn skip_blank(&mut self) -> Result<(), SqlError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b' ' | b'\t' | b'\r' | b'\n' | 0x0C, _) if self.at < self.bytes.len() => self.at += 1,
                (b'#', _) => self.skip_line(),
                // MySQL wants a blank after `--`; `5--3` is arithmetic.
                (b'-', b'-') if matches!(self.peek(2), b' ' | b'\t' | b'\r' | b'\n' | 0) => self.skip_line(),
                (b'/', b'*') => {
                    let Some(length) = self.sql.as_bytes()[self.at + 2..].windows(2).position(|pair| pair == b"*/")
                    else {
                        return Err(self.error(self.at, "Input '/*' is not valid at this position"));
                    };
                    self.at += length + 4;
                }
                _ => return Ok(()),
            }
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && self.bytes[self.at] != b'\n' {
            self.at += 1;
        }
    }

    /// The inside of a quoted token; the position is on the opening quote.
    fn quoted(&mut self, quote: u8, escapes: bool) -> Result<String, SqlError> {
        let open = self.at;
        self.at += 1;
        let mut inside = Vec::new();
        loop {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(self.error(open, format!("Input '{}' is not valid at this position", char::from(quote))));
            };
            self.at += 1;
            if byte == quote {
                if self.peek(0) != quote || self.at >= self.bytes.len() {
                    break;
                }
                self.at += 1;
                inside.push(quote);
            } else if byte == b'\\' && escapes && self.at < self.bytes.len() {
                let escaped = self.bytes[self.at];
                self.at += 1;
                unescape(escaped, &mut inside);
            } else {
                inside.push(byte);
            }
        }
        // Only ASCII bytes were taken away or replaced, so what is left of valid UTF-8 is valid UTF-8.
        Ok(String::from_utf8_lossy(&inside).into_owned())
    }

    fn hex(&mut self, start: usize) -> Result<(), SqlError> {
        self.at += 1;
        let digits = self.quoted(b'\'', false)?;
        let bytes = decode_hex(digits.as_bytes()).ok_or_else(|| {
            self.error(start, "Binary literal can only contain hexadecimal digits and an even number of digits")
        })?;
        self.push(TokenKind::Hex(bytes), start);
        Ok(())
    }

    fn number(&mut self, start: usize) {
        self.digits();
        if self.peek(0) == b'.' {
            self.at += 1;
            self.digits();
        }
        let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
        if matches!(self.peek(0), b'e' | b'E') && self.peek(1 + sign).is_ascii_digit() {
            self.at += 1 + sign;
            self.digits();
        }
        // `1abc` is a name to StarRocks; `2024_t` as well.
        if is_word_part(self.peek(0)) && self.bytes[start..self.at].iter().all(u8::is_ascii_digit) {
            while is_word_part(self.peek(0)) {
                self.at += 1;
            }
            let word = self.sql[start..self.at].to_owned();
            self.push(TokenKind::Word(word), start);
            return;
        }
        let number = self.sql[start..self.at].to_owned();
        self.push(TokenKind::Number(number), start);
    }

    fn digits(&mut self) {
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
    }

    fn variable(&mut self, start: usize) {
        self.at += 1;
        if self.peek(0) == b'@' {
            self.at += 1;
        }
        while is_word_part(self.peek(0)) || (self.peek(0) == b'.' && is_word_start(self.peek(1))) {
            self.at += 1;
        }
        let name = self.sql[start..self.at].to_owned();
        self.push(TokenKind::Variable(name), start);
    }

    fn symbol(&mut self, start: usize) -> Result<(), SqlError> {
        let rest = &self.bytes[start..];
        let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(symbol.as_bytes())) else {
            let wrong = char::from(rest[0]);
            return Err(self.error(start, format!("Input '{wrong}' is not valid at this position")));
        };
        self.at += symbol.len();
        self.push(TokenKind::Symbol(symbol), start);
        Ok(())
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn unescape(escaped: u8, into: &mut Vec<u8>) {
    match escaped {
        b'n' => into.push(b'\n'),
        b't' => into.push(b'\t'),
        b'r' => into.push(b'\r'),
        b'b' => into.push(0x08),
        b'0' => into.push(0),
        b'Z' => into.push(0x1A),
        // These stay as they are written, for LIKE.
        b'%' | b'_' => into.extend([b'\\', escaped]),
        other => into.push(other),
    }
}

/// Bytes of an even number of hexadecimal digits.
pub fn decode_hex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(sql: &str) -> Vec<TokenKind> {
        let mut found: Vec<_> = tokens(sql).expect("tokens").into_iter().map(|token| token.kind).collect();
        assert_eq!(found.pop(), Some(TokenKind::End));
        found
    }

    #[test]
    fn tokens_are_what_starrocks_reads() {
        let word = |text: &str| TokenKind::Word(text.to_owned());
        let text = |text: &str| TokenKind::Text(text.to_owned());
        let number = |text: &str| TokenKind::Number(text.to_owned());
        let cases: Vec<(&str, &str, Vec<TokenKind>)> = vec![
            ("names", "a `b``c` ä", vec![word("a"), TokenKind::Name("b`c".into()), word("ä")]),
            ("strings", r#"'it''s' "a\"b" 'x\ny\%'"#, vec![text("it's"), text("a\"b"), text("x\ny\\%")]),
            ("numbers", "1 2.5 .5 1e-3", vec![number("1"), number("2.5"), number(".5"), number("1e-3")]),
            ("a name may begin with a digit", "1a", vec![word("1a")]),
            ("dotted", "a.1", vec![word("a"), TokenKind::Symbol("."), number("1")]),
            ("comments", "a -- b\n# c\n/* d */ e", vec![word("a"), word("e")]),
            ("minus minus", "5--3", vec![number("5"), TokenKind::Symbol("-"), TokenKind::Symbol("-"), number("3")]),
            (
                "variables",
                "@@session.x @y",
                vec![TokenKind::Variable("@@session.x".into()), TokenKind::Variable("@y".into())],
            ),
            ("hex", "x'0aFF'", vec![TokenKind::Hex(vec![10, 255])]),
            ("longest symbol", "a<=>b", vec![word("a"), TokenKind::Symbol("<=>"), word("b")]),
        ];
        for (name, sql, want) in cases {
            assert_eq!(kinds(sql), want, "{name}");
        }
    }

    #[test]
    fn no_text_panics() {
        let sql = "sel `a``b` \"x\\\"y\" 'z\\'ä€' 1.5e-7 x'0a' @@a.b /* c */ <=> -- d\n §";
        for end in 0..=sql.len() {
            if sql.is_char_boundary(end) {
                // An error is fine; what is tested is that there is an answer.
                let _answer = tokens(&sql[..end]);
            }
        }
    }

    #[test]
    fn a_place_counts_characters() {
        assert_eq!(place("ab\näöü x", 9), (2, 3));
    }
}
