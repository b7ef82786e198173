//! Compares the tables of a PostgreSQL schema with their copies, row by row and column by column.

use std::collections::BTreeMap;
use std::fmt;

use mysql_async::prelude::Queryable;
use sonic_rs::Value as Json;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A row: column values by name; `None` is NULL.
type Row = BTreeMap<String, Option<String>>;
/// Rows by their key columns' text.
type Rows = BTreeMap<Vec<String>, Row>;

/// A table to compare.
#[derive(Clone, Debug)]
struct Table {
    schema: String,
    name: String,
    /// Column name and type name, in order.
    columns: Vec<(String, String)>,
    key: Vec<String>,
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Tables compared.
    pub tables: usize,
    /// Rows equal on both sides.
    pub rows: usize,
    /// The first differences, at most a few per table.
    pub differences: Vec<String>,
}

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The source did not answer as expected.
    #[error("cannot read the source")]
    Source(#[from] tokio_postgres::Error),
    /// The target did not answer as expected.
    #[error("cannot read the target")]
    Target(#[from] mysql_async::Error),
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.differences.is_empty() {
            return write!(f, "verified: {} tables, {} rows equal", self.tables, self.rows);
        }
        writeln!(f, "different: {} tables compared, {} rows equal, first differences:", self.tables, self.rows)?;
        self.differences.iter().try_for_each(|difference| writeln!(f, "  {difference}"))
    }
}

const SHOWN_PER_TABLE: usize = 5;

/// Compares every table of a schema with the table of its name in a target database, of which rows marked as deleted
/// do not count.
///
/// # Errors
/// If a side cannot be read.
pub async fn compare(
    source: &Client,
    schema: &str,
    target: &mut mysql_async::Conn,
    database: &str,
) -> Result<Comparison, CompareError> {
    let mut comparison = Comparison::default();
    for table in tables(source, schema).await? {
        let want = source_rows(source, &table).await?;
        let have = target_rows(target, database, &table).await?;
        comparison.tables += 1;
        comparison.add(&table, &want, &have);
    }
    Ok(comparison)
}

impl Comparison {
    fn add(&mut self, table: &Table, want: &Rows, have: &Rows) {
        let mut found = Vec::new();
        for (key, row) in want {
            match have.get(key) {
                None => found.push(format!("{} {key:?}: missing in the target", table.name)),
                Some(copy) => match differing(row, copy) {
                    None => self.rows += 1,
                    Some(column) => found.push(format!(
                        "{} {key:?} column {column}: source {}, target {}",
                        table.name,
                        shown(&row[&column]),
                        shown(&copy[&column]),
                    )),
                },
            }
        }
        let surplus = have.keys().filter(|key| !want.contains_key(*key));
        found.extend(surplus.map(|key| format!("{} {key:?}: not in the source", table.name)));
        self.differences.extend(found.into_iter().take(SHOWN_PER_TABLE));
    }
}

fn differing(row: &Row, copy: &Row) -> Option<String> {
    row.iter().find(|(column, value)| copy.get(*column) != Some(value)).map(|(column, _)| column.clone())
}

fn shown(value: &Option<String>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(text) if text.chars().count() > 60 => {
            format!("{:?}… ({} bytes)", text.chars().take(60).collect::<String>(), text.len())
        }
        Some(text) => format!("{text:?}"),
    }
}

async fn tables(source: &Client, schema: &str) -> Result<Vec<Table>, tokio_postgres::Error> {
    // A domain is compared as what it rests on.
    let query = "SELECT c.relname::text, a.attname::text, \
                 (WITH RECURSIVE under(oid) AS (SELECT a.atttypid UNION ALL SELECT d.typbasetype FROM under u \
                  JOIN pg_type d ON d.oid = u.oid AND d.typtype = 'd') \
                  SELECT b.typname::text FROM under u JOIN pg_type b ON b.oid = u.oid AND b.typtype <> 'd'), \
                 coalesce(array_position(i.indkey::int2[], a.attnum), -1)::int4 \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                 AND a.attgenerated = '' \
                 LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
                 WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
                 ORDER BY c.relname, a.attnum";
    let mut tables: Vec<Table> = Vec::new();
    let mut keys: Vec<Vec<(i32, String)>> = Vec::new();
    for row in source.query(query, &[&schema]).await? {
        let (name, column, ty, place): (String, String, String, i32) = (row.get(0), row.get(1), row.get(2), row.get(3));
        if tables.last().is_none_or(|table| table.name != name) {
            tables.push(Table { schema: schema.to_owned(), name, columns: Vec::new(), key: Vec::new() });
            keys.push(Vec::new());
        }
        let (table, key) = (tables.len() - 1, keys.len() - 1);
        // A key holds the text of what is a document elsewhere.
        let is_document = ty.starts_with('_') || ["json", "jsonb", "hstore"].contains(&ty.as_str());
        let ty = if place >= 0 && is_document { "text".to_owned() } else { ty };
        if place >= 0 {
            keys[key].push((place, column.clone()));
        }
        tables[table].columns.push((column, ty));
    }
    for (table, mut key) in tables.iter_mut().zip(keys) {
        key.sort_unstable();
        table.key = key.into_iter().map(|(_, column)| column).collect();
    }
    Ok(tables)
}

fn keyed(table: &Table, row: Row) -> (Vec<String>, Row) {
    let key = table.key.iter().map(|column| row.get(column).cloned().flatten().unwrap_or_default()).collect();
    (key, row)
}

async fn source_rows(source: &Client, table: &Table) -> Result<Rows, tokio_postgres::Error> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let columns: Vec<_> = table.columns.iter().map(|(name, ty)| as_document(ty, &quoted(name))).collect();
    let pins = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 3; SET bytea_output = 'hex'; \
                SET lc_monetary = 'C'; SET IntervalStyle = 'postgres'";
    let query = format!("{pins}; SELECT {} FROM {}.{}", columns.join(", "), quoted(&table.schema), quoted(&table.name));
    let mut rows = Rows::new();
    for message in source.simple_query(&query).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let values = table
                .columns
                .iter()
                .enumerate()
                .map(|(at, (name, ty))| (name.clone(), row.get(at).map(|text| canonical(ty, text))));
            rows.extend([keyed(table, values.collect())]);
        }
    }
    Ok(rows)
}

/// The server's own conversion to JSON, for types whose copy is a document. Elements go by their text, since JSON has
/// another form for times.
fn as_document(ty: &str, column: &str) -> String {
    match ty {
        "_json" | "_jsonb" => format!("to_jsonb({column})"),
        "hstore" => format!("{column}::jsonb"),
        "_hstore" => format!("to_jsonb({column}::jsonb[])"),
        array if array.starts_with('_') => format!("to_jsonb({column}::text[])"),
        _ => column.to_owned(),
    }
}

async fn target_rows(
    target: &mut mysql_async::Conn,
    database: &str,
    table: &Table,
) -> Result<Rows, mysql_async::Error> {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let columns: Vec<_> = table.columns.iter().map(|(name, _)| quoted(name)).collect();
    let table_name = format!("{}.{}", quoted(database), quoted(&table.name));
    let described: Vec<mysql_async::Row> = target.query(format!("DESC {table_name}")).await?;
    let marked = described.iter().any(|row| row.get::<String, _>(0).is_some_and(|name| name == "sluice_is_deleted"));
    let living = if marked { " WHERE `sluice_is_deleted` = 0" } else { "" };
    let query = format!("SELECT {} FROM {table_name}{living}", columns.join(", "));
    let found: Vec<mysql_async::Row> = target.query(query).await?;
    let row = |row: mysql_async::Row| -> (Vec<String>, Row) {
        let values = table.columns.iter().zip(row.unwrap()).map(|((name, ty), value)| {
            let text = match value {
                mysql_async::Value::NULL => None,
                mysql_async::Value::Bytes(bytes) => Some(match (ty.as_str(), std::str::from_utf8(&bytes)) {
                    ("bytea", Ok(text)) if text.starts_with("\\x") => text.to_owned(),
                    ("bytea", _) => hex(&bytes),
                    (_, Ok(text)) => canonical(ty, text),
                    (_, Err(_)) => hex(&bytes),
                }),
                other => Some(canonical(ty, &other.as_sql(true))),
            };
            (name.clone(), text)
        });
        keyed(table, values.collect())
    };
    Ok(found.into_iter().map(row).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// One spelling for values that the two sides print differently.
fn canonical(ty: &str, text: &str) -> String {
    match ty {
        "bool" => match text {
            "t" | "1" => "true".to_owned(),
            "f" | "0" => "false".to_owned(),
            other => other.to_owned(),
        },
        // Adding 0 takes the sign off zero, which is equal and which the stand-in's SELECT does not keep.
        "float4" => text.parse::<f32>().map_or_else(|_| text.to_owned(), |number| (number + 0.0).to_string()),
        "float8" => text.parse::<f64>().map_or_else(|_| text.to_owned(), |number| (number + 0.0).to_string()),
        "timestamp" | "timestamptz" => {
            let text = text.strip_suffix("+00").unwrap_or(text);
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text.to_owned()
            }
        }
        "money" => text.replace(['$', ','], ""),
        "json" | "jsonb" | "_json" | "_jsonb" | "hstore" | "_hstore" => {
            sonic_rs::from_str::<Json>(text).map_or_else(|_| text.to_owned(), |json| sorted(&json))
        }
        array if array.starts_with('_') => {
            sonic_rs::from_str::<Json>(text).map_or_else(|_| text.to_owned(), |json| elements(&array[1..], &json))
        }
        _ => text.to_owned(),
    }
}

/// An array's text with every element as the text of its type.
fn elements(ty: &str, json: &Json) -> String {
    use sonic_rs::{JsonContainerTrait, JsonValueTrait};
    if let Some(items) = json.as_array() {
        return format!("[{}]", items.iter().map(|item| elements(ty, item)).collect::<Vec<_>>().join(", "));
    }
    match json.as_str().map_or_else(|| json.to_string(), str::to_owned) {
        _ if json.is_null() => "null".to_owned(),
        digits if ty == "numeric" && digits.contains('.') => {
            format!("{:?}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        text => format!("{:?}", canonical(ty, &text)),
    }
}

/// A document's text with object members in order of their names.
fn sorted(json: &Json) -> String {
    use sonic_rs::{JsonContainerTrait, JsonValueTrait};
    if let Some(members) = json.as_object() {
        let members: BTreeMap<&str, String> = members.iter().map(|(name, value)| (name, sorted(value))).collect();
        format!("{members:?}")
    } else if let Some(items) = json.as_array() {
        format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(", "))
    } else if let Some(number) = json.as_f64() {
        number.to_string()
    } else {
        json.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_what_is_equal() {
        let equal = [
            ("bool", "t", "1"),
            ("float4", "0.1", "0.10"),
            ("float8", "1e+20", "100000000000000000000"),
            ("timestamptz", "2024-01-02 03:04:05.5+00", "2024-01-02 03:04:05.500000"),
            ("timestamp", "2024-01-02 03:04:00", "2024-01-02 03:04:00"),
            ("money", "-$1,234.50", "-1234.50"),
            ("_int8", r#"["1", null, "-9223372036854775808"]"#, "[1,null,-9223372036854775808]"),
            ("_numeric", r#"[["1.50"], ["NaN"]]"#, r#"[[1.5],["NaN"]]"#),
            ("_bool", r#"["true", "false"]"#, "[true,false]"),
            ("_text", r#"["a", null, "null"]"#, r#"["a",null,"null"]"#),
            ("_jsonb", r#"[{"a": 1, "b": 2}]"#, r#"[{"b":2,"a":1}]"#),
            ("hstore", r#"{"a": "1", "b": null}"#, r#"{"b":null,"a":"1"}"#),
            ("jsonb", r#"{"a": 1, "b": [true, null]}"#, r#"{"b":[true,null],"a":1.0}"#),
        ];
        for (ty, a, b) in equal {
            assert_eq!(canonical(ty, a), canonical(ty, b), "{ty}");
        }
        for (ty, a, b) in [
            ("text", "a", "a "),
            ("json", "[1,2]", "[2,1]"),
            ("numeric", "1.0", "1.00"),
            ("_text", "[null]", "[\"null\"]"),
            ("_int8", "[1]", "[\"2\"]"),
        ] {
            assert_ne!(canonical(ty, a), canonical(ty, b), "{ty}");
        }
    }

    #[test]
    fn differences_are_named() {
        let table = Table { schema: "s".into(), name: "t".into(), columns: vec![], key: vec!["id".into()] };
        let row =
            |value: &str| Row::from([("id".to_owned(), Some("1".to_owned())), ("v".to_owned(), Some(value.into()))]);
        let rows = |keys: &[(&str, &str)]| -> Rows {
            keys.iter().map(|(key, value)| (vec![(*key).to_owned()], row(value))).collect()
        };
        let mut comparison = Comparison { tables: 1, ..Comparison::default() };
        comparison.add(
            &table,
            &rows(&[("1", "a"), ("2", "b"), ("3", "c")]),
            &rows(&[("1", "a"), ("2", "x"), ("4", "d")]),
        );
        assert_eq!(comparison.rows, 1);
        let want = [
            "t [\"2\"] column v: source \"b\", target \"x\"",
            "t [\"3\"]: missing in the target",
            "t [\"4\"]: not in the source",
        ];
        assert_eq!(comparison.differences, want);
        assert!(comparison.to_string().starts_with("different:"));
    }
}
