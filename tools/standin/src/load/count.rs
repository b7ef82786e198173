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
        let (blocks, tail) = rest.as_chunks::<64>();
        blocks.iter().for_each(|block| self.block(block));
        tail.iter().for_each(|byte| self.byte(*byte));
    }

    /// 64 bytes at once: which are quotes, which lie inside strings, which are brackets outside of them.
    fn block(&mut self, block: &[u8; 64]) {
        let backslash = block.iter().fold(false, |found, byte| found | (*byte == b'\\'));
        if backslash || self.escaped {
            block.iter().for_each(|byte| self.byte(*byte));
            return;
        }
        // A quote turns "inside" on or off from its own bit upwards: the exclusive-or of all bits below.
        let mut inside = bits(block, |byte| byte == b'"');
        for shift in [1, 2, 4, 8, 16, 32] {
            inside ^= inside << shift;
        }
        if self.in_string {
            inside = !inside;
        }
        self.in_string = inside >> 63 == 1;
        // The four brackets, and `Y`, `_`, `y`, DEL, give 0x7f here; `bracket_byte` tells them apart.
        let mut brackets = bits(block, |byte| byte | 0x26 == 0x7f) & !inside;
        while brackets != 0 {
            self.bracket_byte(block[brackets.trailing_zeros() as usize]);
            brackets &= brackets - 1;
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
            _ if !self.in_string => self.bracket_byte(byte),
            _ => {}
        }
    }

    fn bracket_byte(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => {
                self.rows += u64::from(self.depth == self.row_depth && byte == b'{');
                self.depth += 1;
            }
            b'}' | b']' => {
                self.depth -= 1;
                self.broken |= self.depth < 0;
            }
            _ => {}
        }
    }
}

/// One bit per byte that `is_one` says yes to, first byte lowest.
fn bits(block: &[u8; 64], is_one: impl Fn(u8) -> bool) -> u64 {
    // 0x80 or 0 per byte first: the compiler does that sixteen bytes at a time. Then eight top bits become one byte:
    // the product puts bit 8i of the shifted word at bit 56 + i.
    let marks: [u8; 64] = std::array::from_fn(|at| if is_one(block[at]) { 0x80 } else { 0 });
    let (words, _) = marks.as_chunks::<8>();
    words.iter().enumerate().fold(0, |all, (at, word)| {
        let byte = (u64::from_le_bytes(*word) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        all | byte << (8 * at)
    })
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
            (
                Format::Json,
                r#"[{"a long key to fill a block of sixty-four bytes":"_yY]}{["},{"y":[[[]]],"z":"\\"},{"0123456789":"_"}]"#,
                Ok(3),
                "more than one block",
            ),
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
