//! One value of one column, and how StarRocks prints it in a result set.
//!
//! Always: a cell fits the type of its column; whoever makes one goes through `convert` or `Table`'s checks.
//! Not here: reading values from text (`convert`), encoding keys (`key`).

use std::cmp::Ordering;

use super::calendar::{MICROS_PER_DAY, date_from_days};

/// A value. The variant follows from the column's type; `Null` fits every nullable column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// SQL NULL.
    Null,
    /// BOOLEAN.
    Bool(bool),
    /// TINYINT, SMALLINT, INT, BIGINT.
    Int(i64),
    /// LARGEINT.
    LargeInt(i128),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL: the digits without the point, and how many of them are fraction digits.
    Decimal(i128, u8),
    /// DATE: days since 1970-01-01.
    Date(i32),
    /// DATETIME: microseconds since 1970-01-01 00:00:00.
    DateTime(i64),
    /// CHAR and VARCHAR. Bytes: a JSON load does not always reject text that is not UTF-8.
    Text(Box<[u8]>),
    /// VARBINARY.
    Binary(Box<[u8]>),
    /// JSON, as it is printed.
    Json(Box<str>),
    /// ARRAY.
    Array(Box<[Cell]>),
}

impl Cell {
    /// A text value.
    pub fn text(value: impl AsRef<[u8]>) -> Cell {
        Cell::Text(value.as_ref().into())
    }

    /// Whether this is SQL NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Cell::Null)
    }

    /// As a text result set carries it; `None` is NULL.
    pub fn print(&self) -> Option<Vec<u8>> {
        if self.is_null() {
            return None;
        }
        let mut out = Vec::new();
        self.print_into(&mut out);
        Some(out)
    }

    /// The same as text for people and tests: NULL is `NULL`, bytes that are not UTF-8 are replaced.
    pub fn display(&self) -> String {
        self.print().map_or_else(|| "NULL".to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Appends the printed form; NULL appends `NULL` at top level of no result set, and `null` inside an array.
    fn print_into(&self, out: &mut Vec<u8>) {
        match self {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Bool(value) => out.push(b'0' + u8::from(*value)),
            Cell::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Cell::LargeInt(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Cell::Float(value) => out.extend_from_slice(print_double(f64::from(*value), &value.to_string()).as_bytes()),
            Cell::Double(value) => out.extend_from_slice(print_double(*value, &value.to_string()).as_bytes()),
            Cell::Decimal(digits, scale) => out.extend_from_slice(print_decimal(*digits, *scale).as_bytes()),
            Cell::Date(days) => out.extend_from_slice(print_date(*days).as_bytes()),
            Cell::DateTime(micros) => out.extend_from_slice(print_datetime(*micros).as_bytes()),
            Cell::Text(bytes) | Cell::Binary(bytes) => out.extend_from_slice(bytes),
            Cell::Json(text) => out.extend_from_slice(text.as_bytes()),
            Cell::Array(cells) => print_array(cells, out),
        }
    }

    /// Order of two values of one column, NULL first; `None` where StarRocks has no order (JSON, ARRAY, NaN).
    pub fn compare(&self, other: &Cell) -> Option<Ordering> {
        match (self, other) {
            (Cell::Null, Cell::Null) => Some(Ordering::Equal),
            (Cell::Null, _) => Some(Ordering::Less),
            (_, Cell::Null) => Some(Ordering::Greater),
            (Cell::Bool(a), Cell::Bool(b)) => Some(a.cmp(b)),
            (Cell::Int(a), Cell::Int(b)) => Some(a.cmp(b)),
            (Cell::LargeInt(a), Cell::LargeInt(b)) => Some(a.cmp(b)),
            (Cell::Float(a), Cell::Float(b)) => a.partial_cmp(b),
            (Cell::Double(a), Cell::Double(b)) => a.partial_cmp(b),
            (Cell::Decimal(a, p), Cell::Decimal(b, q)) if p == q => Some(a.cmp(b)),
            (Cell::Date(a), Cell::Date(b)) => Some(a.cmp(b)),
            (Cell::DateTime(a), Cell::DateTime(b)) => Some(a.cmp(b)),
            (Cell::Text(a) | Cell::Binary(a), Cell::Text(b) | Cell::Binary(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

fn print_array(cells: &[Cell], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match cell {
            Cell::Date(_) | Cell::DateTime(_) => {
                out.push(b'"');
                cell.print_into(out);
                out.push(b'"');
            }
            Cell::Text(text) => print_element(text, out),
            Cell::Json(text) => out.extend_from_slice(text.as_bytes()),
            _ => cell.print_into(out),
        }
    }
    out.push(b']');
}

/// Text within an array has its quotes and backslashes escaped (StarRocks, `be/src/util/mysql_row_buffer.cpp`).
fn print_element(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Shortest digits that read back the same; plain from 1e-4 up to below 1e16, otherwise with an exponent.
fn print_double(value: f64, plain: &str) -> String {
    if value.is_nan() {
        return "nan".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    let size = value.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return plain.to_string();
    }
    exponent_form(plain)
}

/// `123000..0` -> `1.23e+20`: the digits of `plain` moved behind one leading digit.
fn exponent_form(plain: &str) -> String {
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all: String = format!("{whole}{fraction}");
    let leading = all.len() - all.trim_start_matches('0').len();
    let exponent = whole.len() as i64 - 1 - leading as i64;
    let significant = all[leading..].trim_end_matches('0');
    let (first, rest) = significant.split_at(significant.len().min(1));
    let point = if rest.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{exponent_sign}{:02}", exponent.abs())
}

fn print_decimal(digits: i128, scale: u8) -> String {
    if scale == 0 {
        return digits.to_string();
    }
    let scale = usize::from(scale);
    let sign = if digits < 0 { "-" } else { "" };
    let text = format!("{:0>width$}", digits.unsigned_abs().to_string(), width = scale + 1);
    let (whole, fraction) = text.split_at(text.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

fn print_date(days: i32) -> String {
    let (year, month, day) = date_from_days(days);
    format!("{year:04}-{month:02}-{day:02}")
}

fn print_datetime(micros: i64) -> String {
    let days = micros.div_euclid(MICROS_PER_DAY) as i32;
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let date = print_date(days);
    if fraction == 0 {
        format!("{date} {hour:02}:{minute:02}:{second:02}")
    } else {
        format!("{date} {hour:02}:{minute:02}:{second:02}.{fraction:06}")
    }
}
