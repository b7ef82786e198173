//! Results as packets: column definitions, text rows, binary rows, OK, ERR and EOF.
//!
//! In: a `ResultSet` of the executor. Out: payloads.
//! Always: EOF packets stand behind the columns and behind the rows, since StarRocks does not offer DEPRECATE_EOF.
//! MySQL documentation, "Text Resultset", "Binary Protocol Resultset"; StarRocks, `mysql/MysqlSerializer.java`.

use crate::sql::error::SqlError;
use crate::sql::result::{Column, ColumnKind, ResultSet};

use super::handshake::CHARACTER_SET;
use super::wire::{put_length, put_string};

/// `binary`, the character set of VARBINARY columns.
const BINARY_CHARACTER_SET: u8 = 63;

/// An EOF packet.
pub(super) fn eof_payload() -> Vec<u8> {
    vec![0xFE, 0, 0, 2, 0]
}

/// An ERR packet.
pub(super) fn error_payload(error: &SqlError) -> Vec<u8> {
    let mut payload = vec![0xFF];
    payload.extend_from_slice(&error.code.to_le_bytes());
    payload.push(b'#');
    payload.extend_from_slice(error.state.as_bytes());
    payload.extend_from_slice(error.message.as_bytes());
    payload
}

/// The MySQL type number, as StarRocks announces its types (`MysqlColType.java`).
fn type_number(kind: ColumnKind) -> u8 {
    match kind {
        ColumnKind::Null => 6,
        ColumnKind::Boolean | ColumnKind::TinyInt => 1,
        ColumnKind::SmallInt => 2,
        ColumnKind::Int => 3,
        ColumnKind::Float => 4,
        ColumnKind::Double => 5,
        ColumnKind::BigInt => 8,
        ColumnKind::Date => 10,
        ColumnKind::DateTime => 12,
        ColumnKind::Decimal { .. } => 246,
        ColumnKind::VarChar | ColumnKind::VarBinary => 253,
        ColumnKind::LargeInt | ColumnKind::Char | ColumnKind::Json | ColumnKind::Array => 254,
    }
}

/// A column definition; `with_default` for COM_FIELD_LIST, which adds the default value.
pub(super) fn column_payload(column: &Column, with_default: bool) -> Vec<u8> {
    let mut payload = Vec::with_capacity(64);
    put_string(&mut payload, b"def");
    put_string(&mut payload, column.database.as_bytes());
    put_string(&mut payload, column.table.as_bytes());
    put_string(&mut payload, column.table.as_bytes());
    put_string(&mut payload, column.name.as_bytes());
    put_string(&mut payload, column.name.as_bytes());
    put_length(&mut payload, 12);
    let binary = column.kind == ColumnKind::VarBinary;
    payload.extend_from_slice(&[if binary { BINARY_CHARACTER_SET } else { CHARACTER_SET }, 0]);
    payload.extend_from_slice(&255_u32.to_le_bytes());
    payload.push(type_number(column.kind));
    payload.extend_from_slice(&[0, 0]);
    payload.push(match column.kind {
        ColumnKind::Decimal { scale } => scale,
        ColumnKind::Float | ColumnKind::Double => 31,
        _ => 0,
    });
    payload.extend_from_slice(&[0, 0]);
    if with_default {
        payload.push(0xFB);
    }
    payload
}

/// A row of the text protocol.
pub(super) fn text_row(row: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for cell in row {
        match cell {
            Some(bytes) => put_string(&mut payload, bytes),
            None => payload.push(0xFB),
        }
    }
    payload
}

/// A row of the binary protocol, made from the printed values.
pub(super) fn binary_row(set: &ResultSet, row: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut payload = vec![0];
    let mut nulls = vec![0_u8; (row.len() + 7 + 2) / 8];
    let mut values = Vec::new();
    for (index, (cell, column)) in row.iter().zip(&set.columns).enumerate() {
        match cell {
            Some(bytes) => put_binary(&mut values, column.kind, bytes),
            // The first two bits are reserved.
            None => nulls[(index + 2) / 8] |= 1 << ((index + 2) % 8),
        }
    }
    payload.append(&mut nulls);
    payload.append(&mut values);
    payload
}

fn put_binary(into: &mut Vec<u8>, kind: ColumnKind, printed: &[u8]) {
    let text = String::from_utf8_lossy(printed);
    let integer = || text.parse::<i64>().unwrap_or_default().to_le_bytes();
    match kind {
        ColumnKind::Boolean | ColumnKind::TinyInt => into.extend_from_slice(&integer()[..1]),
        ColumnKind::SmallInt => into.extend_from_slice(&integer()[..2]),
        ColumnKind::Int => into.extend_from_slice(&integer()[..4]),
        ColumnKind::BigInt => into.extend_from_slice(&integer()),
        ColumnKind::Float => into.extend_from_slice(&(text.parse::<f32>().unwrap_or_default()).to_le_bytes()),
        ColumnKind::Double => into.extend_from_slice(&(text.parse::<f64>().unwrap_or_default()).to_le_bytes()),
        ColumnKind::Date | ColumnKind::DateTime => put_time(into, &text),
        _ => put_string(into, printed),
    }
}

/// `YYYY-MM-DD[ HH:MM:SS[.ffffff]]` as length, year, month, day[, hour, minute, second[, microseconds]].
fn put_time(into: &mut Vec<u8>, text: &str) {
    let number = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let year = (number(0, 4) as u16).to_le_bytes();
    let date = [year[0], year[1], number(5, 7) as u8, number(8, 10) as u8];
    let time = [number(11, 13) as u8, number(14, 16) as u8, number(17, 19) as u8];
    let microseconds = format!("{:0<6}", text.get(20..).unwrap_or("")).parse::<u32>().unwrap_or(0);
    if microseconds != 0 {
        into.push(11);
        into.extend_from_slice(&date);
        into.extend_from_slice(&time);
        into.extend_from_slice(&microseconds.to_le_bytes());
    } else if time != [0; 3] {
        into.push(7);
        into.extend_from_slice(&date);
        into.extend_from_slice(&time);
    } else {
        into.push(4);
        into.extend_from_slice(&date);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values_have_mysql_shapes() {
        let cases: Vec<(&str, ColumnKind, &str, Vec<u8>)> = vec![
            ("tinyint", ColumnKind::TinyInt, "-1", vec![255]),
            ("int", ColumnKind::Int, "258", vec![2, 1, 0, 0]),
            ("date", ColumnKind::Date, "2024-02-29", vec![4, 0xE8, 7, 2, 29]),
            ("midnight", ColumnKind::DateTime, "2024-02-29 00:00:00", vec![4, 0xE8, 7, 2, 29]),
            ("seconds", ColumnKind::DateTime, "2024-02-29 01:02:03", vec![7, 0xE8, 7, 2, 29, 1, 2, 3]),
            (
                "microseconds",
                ColumnKind::DateTime,
                "2024-02-29 01:02:03.5",
                vec![11, 0xE8, 7, 2, 29, 1, 2, 3, 0x20, 0xA1, 7, 0],
            ),
            ("decimal", ColumnKind::Decimal { scale: 2 }, "1.50", b"\x041.50".to_vec()),
        ];
        for (name, kind, printed, want) in cases {
            let mut found = Vec::new();
            put_binary(&mut found, kind, printed.as_bytes());
            assert_eq!(found, want, "{name}");
        }
    }
}
