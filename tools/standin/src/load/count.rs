//! Counts the rows of a body without reading their values: for a server that throws rows away.
//!
//! In: a body in pieces of any size. Out: how many top-level objects (JSON) or lines (CSV) it holds, and whether brackets
//! and quotes close. Always: the same count whatever the pieces are.

use super::request::Format;

/// A running count.
#[derive(Clone, Debug)]
pub struct RowCounter {
    format: Format,
    row_delimiter: u8,
    rows: u64,
    /// Open brackets.
    depth: i64,
    /// Depth at which a row's brace opens: 0, or 1 inside an outer array.
    row_depth: i64,
    in_string: bool,
    escaped: bool,
    begun: bool,
    partial_line: bool,
    broken: bool,
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

impl RowCounter {
    /// Nothing counted yet. `row_delimiter` matters for CSV.
    pub fn new(format: Format, row_delimiter: u8) -> RowCounter {
        RowCounter {
            format,
            row_delimiter,
            rows: 0,
            depth: 0,
            row_depth: 0,
            in_string: false,
            escaped: false,
            begun: false,
            partial_line: false,
            broken: false,
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        match self.format {
            Format::Csv => {
                self.rows += memchr::memchr_iter(self.row_delimiter, piece).count() as u64;
                if let Some(last) = piece.last() {
                    self.partial_line = *last != self.row_delimiter;
                }
            }
            Format::Json => self.push_json(piece),
        }
    }

    /// Rows, or what is wrong with the framing.
    pub fn finish(self) -> Result<u64, String> {
        if self.format == Format::Csv {
            return Ok(self.rows + u64::from(self.partial_line));
        }
        if self.broken || self.in_string || self.depth != 0 {
            return Err("brackets or quotes of the JSON body do not close".to_string());
        }
        Ok(self.rows)
    }

    fn push_json(&mut self, piece: &[u8]) {
        let mut rest = piece;
        if !self.begun {
            let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            rest = &rest[blank..];
            let Some(first) = rest.first() else { return };
            self.begun = true;
            self.row_depth = i64::from(*first == b'[');
        }
        let (words, tail) = rest.as_chunks::<8>();
        for bytes in words {
            self.word(u64::from_le_bytes(*bytes), bytes);
        }
        tail.iter().for_each(|byte| self.byte(*byte));
    }

    /// Eight bytes at once: which are quotes, which lie inside strings, which are brackets outside of them.
    fn word(&mut self, word: u64, bytes: &[u8; 8]) {
        let backslashes = matches(word, b'\\');
        if backslashes != 0 || self.escaped {
            bytes.iter().for_each(|byte| self.byte(*byte));
            return;
        }
        let mut inside = gather(matches(word, b'"'));
        inside ^= inside << 1;
        inside ^= inside << 2;
        inside ^= inside << 4;
        if self.in_string {
            inside = !inside;
        }
        self.in_string = inside & 0x80 != 0;
        // `{` and `[` differ in bit 5 only, and so do `}` and `]`.
        let folded = word | (LOW * 0x20);
        let (opening, closing) = (matches(folded, b'{'), matches(folded, b'}'));
        if opening | closing == 0 {
            return;
        }
        let outside = !inside;
        let (opening, closing) = (gather(opening) & outside, gather(closing) & outside);
        let mut brackets = opening | closing;
        while brackets != 0 {
            let bit = brackets & brackets.wrapping_neg();
            self.bracket(opening & bit != 0, bytes[brackets.trailing_zeros() as usize]);
            brackets ^= bit;
        }
    }

    fn byte(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
            return;
        }
        match byte {
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' | b'[' if !self.in_string => self.bracket(true, byte),
            b'}' | b']' if !self.in_string => self.bracket(false, byte),
            _ => {}
        }
    }

    fn bracket(&mut self, opens: bool, byte: u8) {
        if opens {
            self.rows += u64::from(self.depth == self.row_depth && byte == b'{');
            self.depth += 1;
        } else {
            self.depth -= 1;
            self.broken |= self.depth < 0;
        }
    }
}

/// 0x80 in every byte of `word` that equals `byte` (exact: no carries between bytes).
fn matches(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (LOW * u64::from(byte));
    let low_bits = (zero_where_equal & !HIGH) + !HIGH;
    !(low_bits | zero_where_equal) & HIGH
}

/// The eight 0x80 bits as one byte, first byte lowest.
fn gather(bits: u64) -> u8 {
    ((bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_do_not_depend_on_the_pieces() {
        let rows = [
            (Format::Json, r#"[{"a":"x]}{["},{"b":{"c":[{}]}} , {}]"#, Ok(3), "an array"),
            (Format::Json, "{\"a\":1}\n{\"b\":\"\\\"{\"}{}\n", Ok(3), "objects one after another"),
            (Format::Json, r#"  [ {"k\\":"v\\\""} ]"#, Ok(1), "escapes"),
            (Format::Json, "", Ok(0), "nothing"),
            (Format::Json, "[]", Ok(0), "an empty array"),
            (Format::Json, r#"[{"a":1}"#, Err(()), "not closed"),
            (Format::Json, r#"[{"a":"1}]"#, Err(()), "an open string"),
            (Format::Csv, "a\nb\nc", Ok(3), "lines, the last one without its end"),
        ];
        for (format, body, want, why) in rows {
            for size in 1..=body.len().max(1) {
                let mut counter = RowCounter::new(format, b'\n');
                body.as_bytes().chunks(size).for_each(|piece| counter.push(piece));
                assert_eq!(counter.finish().map_err(|_| ()), want, "{why}, pieces of {size}");
            }
        }
    }
}
