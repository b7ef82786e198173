//! Encodes the key of a row so that byte order is key order, as the primary key index does.
//!
//! Always: two keys encode alike only if they are equal. Fixed types take their width; a string that is not the last key
//! column is escaped and ended by two zero bytes, the last one is left as it is
//! (StarRocks source, `be/src/storage/primary_key_encoder.cpp`).

use super::cell::Cell;
use super::table::ColumnDef;
use super::types::SrType;

/// `primary_key_limit_size`: longest encoded key, in bytes.
pub const KEY_BYTES_MAX: usize = 128;

/// The encoded key of `cells`, which begin with the values of the columns `key`.
pub fn encode_key(key: &[ColumnDef], cells: &[Cell]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(16);
    for (at, (column, cell)) in key.iter().zip(cells).enumerate() {
        encode_cell(&column.ty, cell, at + 1 == key.len(), &mut out);
    }
    out.into_boxed_slice()
}

fn encode_cell(ty: &SrType, cell: &Cell, last: bool, out: &mut Vec<u8>) {
    match cell {
        // Only UNIQUE and AGGREGATE keys can be NULL; a marker keeps NULL apart from every value and before it.
        Cell::Null => out.extend_from_slice(b"\0\0null"),
        Cell::Bool(value) => out.push(u8::from(*value)),
        Cell::Int(value) => {
            let width = match ty {
                SrType::TinyInt => 1,
                SrType::SmallInt => 2,
                SrType::Int => 4,
                _ => 8,
            };
            let ordered = (*value as u64) ^ (1 << 63);
            // The narrow types keep their own sign bit: shift the value up before the bytes are taken from the top.
            let shifted = if width == 8 { ordered } else { ((*value as u64) << (64 - 8 * width)) ^ (1 << 63) };
            out.extend_from_slice(&shifted.to_be_bytes()[..width]);
        }
        Cell::LargeInt(value) | Cell::Decimal(value, _) => {
            out.extend_from_slice(&((*value as u128) ^ (1 << 127)).to_be_bytes());
        }
        Cell::Date(days) => out.extend_from_slice(&((*days as u32) ^ (1 << 31)).to_be_bytes()),
        Cell::DateTime(micros) => out.extend_from_slice(&((*micros as u64) ^ (1 << 63)).to_be_bytes()),
        Cell::Text(bytes) | Cell::Binary(bytes) if last => out.extend_from_slice(bytes),
        Cell::Text(bytes) | Cell::Binary(bytes) => {
            for byte in bytes.iter() {
                out.push(*byte);
                if *byte == 0 {
                    out.push(1);
                }
            }
            out.extend_from_slice(&[0, 0]);
        }
        // These types are refused as keys; their text still tells rows apart.
        Cell::Float(_) | Cell::Double(_) | Cell::Json(_) | Cell::Array(_) => {
            out.extend_from_slice(&cell.print().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_key_order() {
        let int = || SrType::Int;
        let rows: Vec<(SrType, Cell, Cell, &str)> = vec![
            (SrType::TinyInt, Cell::Int(-1), Cell::Int(0), "sign of a narrow integer"),
            (int(), Cell::Int(i64::from(i32::MIN)), Cell::Int(i64::from(i32::MAX)), "the ends of INT"),
            (SrType::BigInt, Cell::Int(-5), Cell::Int(3), "BIGINT"),
            (SrType::LargeInt, Cell::LargeInt(-5), Cell::LargeInt(3), "LARGEINT"),
            (SrType::Date, Cell::Date(-1), Cell::Date(1), "DATE"),
            (SrType::Varchar(9), Cell::text("a"), Cell::text("a\0"), "a zero byte sorts behind the end"),
        ];
        for (ty, low, high, why) in rows {
            let key = [ColumnDef::new("k", ty), ColumnDef::new("l", SrType::Int)];
            let low = encode_key(&key, &[low, Cell::Int(1)]);
            let high = encode_key(&key, &[high, Cell::Int(0)]);
            assert!(low < high, "{why}");
        }
    }

    #[test]
    fn lengths_are_what_the_limit_counts() {
        let key = [ColumnDef::new("a", SrType::Varchar(200)), ColumnDef::new("b", SrType::Int)];
        let cells = [Cell::text("x".repeat(122)), Cell::Int(1)];
        assert_eq!(encode_key(&key, &cells).len(), KEY_BYTES_MAX, "122 + terminator 2 + INT 4");
        let key = [ColumnDef::new("a", SrType::Varchar(200))];
        assert_eq!(encode_key(&key, &[Cell::text("x".repeat(128))]).len(), KEY_BYTES_MAX, "the last string has no end");
    }
}
