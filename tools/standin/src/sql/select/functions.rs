//! What the query engine must know beyond SQLite: exact numbers, StarRocks' LIKE, its string functions.
//!
//! In: a connection. Out: the connection with functions and collations registered.
//! Always: a DECIMAL or LARGEINT stays text and is compared, summed and averaged without doubles.
//! Not here: how a query's text becomes SQLite's (`translate`).

use rusqlite::Connection;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};

use super::number::{Exact, compare};

/// Collation of DECIMAL and LARGEINT columns.
pub(super) const NUMERIC: &str = "sr_numeric";
/// Collation of DATE and DATETIME columns: a day is its midnight.
pub(super) const TIME: &str = "sr_time";

/// What functions tell about the session.
#[derive(Clone, Debug, Default)]
pub(in crate::sql) struct SessionFacts {
    /// `database()`.
    pub(in crate::sql) database: Option<String>,
    /// `user()`, `current_user()`.
    pub(in crate::sql) user: String,
    /// `current_version()`.
    pub(in crate::sql) starrocks_version: String,
    /// `version()`.
    pub(in crate::sql) mysql_version: String,
    /// `connection_id()`.
    pub(in crate::sql) connection_id: u32,
}

/// Registers everything on a fresh connection.
pub(super) fn register(connection: &Connection, facts: &SessionFacts) -> rusqlite::Result<()> {
    connection.create_collation(NUMERIC, compare)?;
    connection.create_collation(TIME, |left: &str, right: &str| time_key(left).cmp(&time_key(right)))?;
    register_aggregates(connection)?;
    register_session(connection, facts)?;
    register_strings(connection)?;
    register_casts(connection)
}

const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

/// `2024-01-01` and `2024-01-01 00:00:00.000000` are the same moment.
fn time_key(text: &str) -> String {
    let mut key = text.trim().replacen('T', " ", 1);
    if key.len() == 10 {
        key.push_str(" 00:00:00");
    }
    if key.contains('.') {
        let length = key.trim_end_matches('0').trim_end_matches('.').len();
        key.truncate(length);
    }
    key
}

// ---- aggregates ----

/// A running sum: exact as long as everything is.
#[derive(Clone, Copy)]
enum Total {
    Exact(Exact),
    Double(f64),
}

struct Running {
    total: Option<Total>,
    count: i64,
    overflow: bool,
}

impl Running {
    fn add(&mut self, value: ValueRef<'_>) {
        let next = match value {
            ValueRef::Null => return,
            ValueRef::Integer(number) => Total::Exact(Exact { units: i128::from(number), scale: 0 }),
            ValueRef::Real(number) => Total::Double(number),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                match Exact::parse(&text) {
                    Some(exact) => Total::Exact(exact),
                    // StarRocks casts other text to DOUBLE, and what is no number to NULL.
                    None => match text.trim().parse::<f64>() {
                        Ok(number) => Total::Double(number),
                        Err(_) => return,
                    },
                }
            }
        };
        self.count += 1;
        self.total = Some(match (self.total, next) {
            (None, next) => next,
            (Some(Total::Exact(sum)), Total::Exact(more)) => match sum.plus(more) {
                Some(sum) => Total::Exact(sum),
                None => {
                    self.overflow = true;
                    return;
                }
            },
            (Some(sum), more) => Total::Double(as_double(sum) + as_double(more)),
        });
    }
}

fn as_double(total: Total) -> f64 {
    match total {
        Total::Double(number) => number,
        Total::Exact(exact) => exact.print().parse().unwrap_or(f64::NAN),
    }
}

struct Sum;
struct Average;

fn fresh() -> Running {
    Running { total: None, count: 0, overflow: false }
}

fn overflow() -> rusqlite::Error {
    rusqlite::Error::UserFunctionError("numeric overflow".into())
}

impl Aggregate<Running, Value> for Sum {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Running> {
        Ok(fresh())
    }
    fn step(&self, context: &mut Context<'_>, running: &mut Running) -> rusqlite::Result<()> {
        running.add(context.get_raw(0));
        Ok(())
    }
    fn finalize(&self, _: &mut Context<'_>, running: Option<Running>) -> rusqlite::Result<Value> {
        let running = running.unwrap_or_else(fresh);
        match running.total {
            _ if running.overflow => Err(overflow()),
            None => Ok(Value::Null),
            Some(Total::Double(number)) => Ok(Value::Real(number)),
            Some(Total::Exact(exact)) => match i64::try_from(exact.units) {
                Ok(number) if exact.scale == 0 => Ok(Value::Integer(number)),
                _ => Ok(Value::Text(exact.print())),
            },
        }
    }
}

impl Aggregate<Running, Value> for Average {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Running> {
        Ok(fresh())
    }
    fn step(&self, context: &mut Context<'_>, running: &mut Running) -> rusqlite::Result<()> {
        running.add(context.get_raw(0));
        Ok(())
    }
    fn finalize(&self, _: &mut Context<'_>, running: Option<Running>) -> rusqlite::Result<Value> {
        let running = running.unwrap_or_else(fresh);
        match running.total {
            _ if running.overflow => Err(overflow()),
            None => Ok(Value::Null),
            // An average of DECIMAL is a DECIMAL; of whole numbers a DOUBLE.
            Some(Total::Exact(exact)) if exact.scale > 0 => exact
                .divided(i128::from(running.count), average_scale(exact.scale))
                .map_or_else(|| Err(overflow()), |average| Ok(Value::Text(average.print()))),
            Some(total) => Ok(Value::Real(as_double(total) / running.count as f64)),
        }
    }
}

/// Digits behind the point of an average of DECIMAL(p, scale), as StarRocks' division has them.
pub(super) fn average_scale(scale: u32) -> u32 {
    match scale {
        0..=6 => scale + 6,
        7..=12 => 12,
        _ => scale,
    }
}

fn register_aggregates(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_aggregate_function("sum", 1, PURE, Sum)?;
    connection.create_aggregate_function("avg", 1, PURE, Average)
}

// ---- session ----

fn register_session(connection: &Connection, facts: &SessionFacts) -> rusqlite::Result<()> {
    for name in ["database", "schema"] {
        let database = facts.database.clone();
        connection.create_scalar_function(name, 0, PURE, move |_| Ok(database.clone()))?;
    }
    for name in ["user", "current_user", "session_user"] {
        let user = format!("'{}'@'%'", facts.user);
        connection.create_scalar_function(name, 0, PURE, move |_| Ok(user.clone()))?;
    }
    let version = facts.starrocks_version.clone();
    connection.create_scalar_function("current_version", 0, PURE, move |_| Ok(version.clone()))?;
    let version = facts.mysql_version.clone();
    connection.create_scalar_function("version", 0, PURE, move |_| Ok(version.clone()))?;
    let id = facts.connection_id;
    connection.create_scalar_function("connection_id", 0, PURE, move |_| Ok(id))?;
    connection.create_scalar_function("current_catalog", 0, PURE, |_| Ok("default_catalog"))
}

// ---- strings ----

/// The bytes SQLite would print for a value; `None` for NULL.
fn bytes_of(value: ValueRef<'_>) -> Option<Vec<u8>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string().into_bytes()),
        ValueRef::Real(number) => Some(super::print_double(number).into_bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
    }
}

fn text_of(value: ValueRef<'_>) -> Option<String> {
    bytes_of(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn register_strings(connection: &Connection) -> rusqlite::Result<()> {
    // LIKE is case-sensitive in StarRocks and takes a backslash as its escape without being told.
    connection.create_scalar_function("like", 2, PURE, |context| {
        let (Some(pattern), Some(text)) = (text_of(context.get_raw(0)), text_of(context.get_raw(1))) else {
            return Ok(None);
        };
        Ok(Some(is_like(&text, &pattern)))
    })?;
    // StarRocks' length counts bytes.
    connection.create_scalar_function("length", 1, PURE, |context| {
        Ok(bytes_of(context.get_raw(0)).map(|bytes| bytes.len() as i64))
    })?;
    for name in ["char_length", "character_length"] {
        connection.create_scalar_function(name, 1, PURE, |context| {
            Ok(text_of(context.get_raw(0)).map(|text| text.chars().count() as i64))
        })?;
    }
    connection.create_scalar_function("left", 2, PURE, |context| {
        let length = context.get::<Option<i64>>(1)?.unwrap_or(0).max(0) as usize;
        Ok(text_of(context.get_raw(0)).map(|text| text.chars().take(length).collect::<String>()))
    })?;
    connection.create_scalar_function("right", 2, PURE, |context| {
        let length = context.get::<Option<i64>>(1)?.unwrap_or(0).max(0) as usize;
        Ok(text_of(context.get_raw(0)).map(|text| {
            let skip = text.chars().count().saturating_sub(length);
            text.chars().skip(skip).collect::<String>()
        }))
    })?;
    connection.create_scalar_function("sr_now", 0, FunctionFlags::SQLITE_UTF8, |_| Ok(super::now_text()))?;
    connection.create_scalar_function("to_base64", 1, PURE, |context| {
        use base64::Engine as _;
        let encode = |bytes: Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
        Ok(bytes_of(context.get_raw(0)).map(encode))
    })
}

/// Whether `text` matches a LIKE pattern: `%`, `_`, and a backslash before either.
pub(in crate::sql) fn is_like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut at, mut want) = (0, 0);
    // Where the last % stands and how much it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        let matched = match pattern.get(want) {
            Some('%') => {
                star = Some((want, at));
                want += 1;
                continue;
            }
            Some('_') => Some(1),
            Some('\\') if pattern.get(want + 1).is_some() => (pattern[want + 1] == text[at]).then_some(2),
            Some(letter) => (*letter == text[at]).then_some(1),
            None => None,
        };
        match (matched, star) {
            (Some(step), _) => {
                at += 1;
                want += step;
            }
            (None, Some((place, swallowed))) => {
                star = Some((place, swallowed + 1));
                at = swallowed + 1;
                want = place + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[want..].iter().all(|letter| *letter == '%')
}

// ---- casts ----

fn register_casts(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_scalar_function("sr_decimal", 3, PURE, |context| {
        let (precision, scale) = (context.get::<u32>(1)?, context.get::<u32>(2)?);
        let exact =
            text_of(context.get_raw(0)).and_then(|text| Exact::parse(&text)).and_then(|exact| exact.rounded(scale));
        let fits = |exact: &Exact| exact.units.unsigned_abs().checked_ilog10().unwrap_or(0) < precision;
        Ok(exact.filter(fits).map(Exact::print))
    })?;
    connection.create_scalar_function("sr_largeint", 1, PURE, |context| {
        let text = text_of(context.get_raw(0)).unwrap_or_default();
        let whole = text.split('.').next().unwrap_or_default();
        Ok(Exact::parse(whole).filter(|exact| exact.scale == 0).map(Exact::print))
    })?;
    connection.create_scalar_function("sr_date", 1, PURE, |context| {
        Ok(text_of(context.get_raw(0)).and_then(|text| text.get(..10).map(str::to_owned)))
    })?;
    connection.create_scalar_function("sr_datetime", 1, PURE, |context| {
        Ok(text_of(context.get_raw(0)).map(|text| time_key(&text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_is_starrocks_like() {
        let cases = [
            ("abc", "a%", true),
            ("abc", "A%", false),
            ("abc", "_b_", true),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("", "%", true),
            ("", "_", false),
            ("aXbXc", "%X_", true),
            ("run_mode", "run_mode", true),
            ("äö", "_ö", true),
        ];
        for (text, pattern, want) in cases {
            assert_eq!(is_like(text, pattern), want, "{text} like {pattern}");
        }
    }
}
