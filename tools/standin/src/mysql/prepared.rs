//! Prepared statements: a query with `?` marks, filled with constants.
//!
//! In: COM_STMT_PREPARE's text, COM_STMT_EXECUTE's payload. Out: plain SQL text to execute.
//! Always: only queries can be prepared; anything else is refused with 1295 (StarRocks, `ErrorCode.java`).
//! Not here: the answer packets (`connection`).
//! MySQL documentation, "Prepared Statements", "Binary Protocol Value".

use crate::sql::ast::Statement;
use crate::sql::error::SqlError;
use crate::sql::lexer::tokens;
use crate::sql::parser;

use super::wire::{Fields, WireError};

/// A prepared query.
pub(super) struct Prepared {
    /// The text between the marks: one piece more than there are marks.
    pieces: Vec<String>,
    /// Types of the parameters, as bound by the last execution.
    types: Vec<(u8, bool)>,
}

impl Prepared {
    /// Reads `sql`, which must be a query.
    pub(super) fn new(sql: &str) -> Result<Self, SqlError> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for token in tokens(sql)? {
            if token.is_symbol("?") {
                pieces.push(sql[start..token.start].to_owned());
                start = token.end;
            }
        }
        pieces.push(sql[start..].to_owned());
        let prepared = Self { pieces, types: Vec::new() };
        match parser::parse(&prepared.with_nulls())? {
            Statement::Query(_) => Ok(prepared),
            _ => Err(SqlError::not_preparable()),
        }
    }

    /// How many `?` there are.
    pub(super) fn parameters(&self) -> usize {
        self.pieces.len() - 1
    }

    /// The query with NULL for every mark, to learn its columns.
    pub(super) fn with_nulls(&self) -> String {
        self.pieces.join(" NULL ")
    }

    /// The query with the values of an execution; `fields` stands behind the iteration count.
    pub(super) fn filled(&mut self, fields: &mut Fields<'_>) -> Result<String, WireError> {
        let count = self.parameters();
        let mut sql = self.pieces[0].clone();
        if count == 0 {
            return Ok(sql);
        }
        let nulls = fields.take("null bitmap", count.div_ceil(8) as u64)?;
        if fields.byte("new parameters bound")? == 1 {
            self.types.clear();
            for _ in 0..count {
                let number = fields.byte("parameter type")?;
                let unsigned = fields.byte("parameter flags")? & 0x80 != 0;
                self.types.push((number, unsigned));
            }
        }
        for index in 0..count {
            let is_null = nulls[index / 8] & (1 << (index % 8)) != 0;
            let (number, unsigned) = self.types.get(index).copied().unwrap_or((6, false));
            let literal = if is_null { "NULL".to_owned() } else { literal(fields, number, unsigned)? };
            sql.push_str(&literal);
            sql.push_str(&self.pieces[index + 1]);
        }
        Ok(sql)
    }
}

/// One binary value as an SQL constant.
fn literal(fields: &mut Fields<'_>, number: u8, unsigned: bool) -> Result<String, WireError> {
    let signed = |value: u64, bits: u32| (((value << (64 - bits)) as i64) >> (64 - bits)).to_string();
    let integer = |value: u64, bits: u32| if unsigned { value.to_string() } else { signed(value, bits) };
    Ok(match number {
        1 => integer(fields.integer("tinyint", 1)?, 8),
        2 | 13 => integer(fields.integer("smallint", 2)?, 16),
        3 | 9 => integer(fields.integer("int", 4)?, 32),
        8 => integer(fields.integer("bigint", 8)?, 64),
        4 => format!("{:e}", f32::from_bits(fields.integer("float", 4)? as u32)),
        5 => format!("{:e}", f64::from_bits(fields.integer("double", 8)?)),
        6 => "NULL".to_owned(),
        7 | 10 | 12 => quoted(&date_time(fields)?),
        11 => quoted(&time_of_day(fields)?),
        _ => quoted(&String::from_utf8_lossy(fields.string("string")?)),
    })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn date_time(fields: &mut Fields<'_>) -> Result<String, WireError> {
    let length = fields.byte("datetime length")?;
    let mut parts = Fields::new(fields.take("datetime", u64::from(length))?);
    let (year, month, day) =
        if length >= 4 { (parts.integer("year", 2)?, parts.byte("month")?, parts.byte("day")?) } else { (0, 0, 0) };
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    if length >= 7 {
        let (hour, minute, second) = (parts.byte("hour")?, parts.byte("minute")?, parts.byte("second")?);
        text.push_str(&format!(" {hour:02}:{minute:02}:{second:02}"));
    }
    if length >= 11 {
        text.push_str(&format!(".{:06}", parts.integer("microseconds", 4)?));
    }
    Ok(text)
}

fn time_of_day(fields: &mut Fields<'_>) -> Result<String, WireError> {
    let length = fields.byte("time length")?;
    let mut parts = Fields::new(fields.take("time", u64::from(length))?);
    if length < 8 {
        return Ok("00:00:00".to_owned());
    }
    let sign = if parts.byte("sign")? == 1 { "-" } else { "" };
    let days = parts.integer("days", 4)?;
    let (hour, minute, second) = (parts.byte("hour")?, parts.byte("minute")?, parts.byte("second")?);
    let mut text = format!("{sign}{:02}:{minute:02}:{second:02}", days * 24 + u64::from(hour));
    if length >= 12 {
        text.push_str(&format!(".{:06}", parts.integer("microseconds", 4)?));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_filled_with_constants() {
        let mut prepared = Prepared::new("SELECT ?, '?', ? FROM t WHERE a = ?").expect("a query");
        assert_eq!(prepared.parameters(), 3);
        let mut payload = vec![0b010, 1, 3, 0, 253, 0, 12, 0];
        payload.extend_from_slice(&(-5_i32).to_le_bytes());
        payload.extend_from_slice(&[7, 0xE8, 7, 2, 29, 1, 2, 3]);
        let sql = prepared.filled(&mut Fields::new(&payload)).expect("whole");
        assert_eq!(sql, "SELECT -5, '?', NULL FROM t WHERE a = '2024-02-29 01:02:03'");
        for end in 0..payload.len() {
            assert!(prepared.filled(&mut Fields::new(&payload[..end])).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn only_queries_can_be_prepared() {
        for sql in ["TRUNCATE TABLE t", "CREATE TABLE t (a INT)", "SET autocommit = 1", "INSERT INTO t VALUES (1)"] {
            assert_eq!(Prepared::new(sql).err().map(|error| error.code), Some(1295), "{sql}");
        }
    }
}
