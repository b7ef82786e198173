//! The reference of types for people, written from the table of types.

use std::fmt::Write as _;

use super::options::{ArrayAs, ByteaAs, JsonAs, NumericAs, TypeRules};
use super::types::{Mapping, mapping};
use crate::model::ColumnType;

const INTRO: &str = "\
# Types

<!-- Written from the tables in src/source/postgres/types.rs and src/sink/starrocks/types.rs. After a change there:
     UPDATE=1 cargo test --test it types_docs -->

What a column of each PostgreSQL type becomes in StarRocks, when Sluicegate creates the table. A table that exists may
have any type that holds the same values: an equal or wider one is taken, a narrower one is told by name, with the
statement that widens it. Each value is checked against its column before it is sent; one that does not fit is never
changed in silence (see [values.md](values.md)).

- Built-in types are known by their number, types of extensions by their name, in whatever schema they are.
- A domain is what it rests on, with the length or precision it declares; also a domain of a domain, a domain over an
  array and an array of a domain.
- A column of the primary key can only be BOOLEAN, an integer, DATE, DATETIME or VARCHAR there. The whole key may take
  128 bytes, counted before a row is sent: text its bytes, and 2 more for all but the last; numbers their width.
- Text is counted in bytes by StarRocks and in characters by PostgreSQL, so that `varchar(20)` needs 80.
- SQL NULL and the JSON document `null` are both NULL in a JSON column.
- Money is read with two digits after the point, as in nearly every `lc_monetary`.
- A row whose large values did not change is loaded with the names of the others in a header, as is every row of a table
  with a VARBINARY column. A frontend takes 32 KiB of headers (`http_max_header_size`): a table of many hundred columns
  with long names may need more.
- Arrays whose elements are not numbered from 1 (`[2:4]={a,b,c}`) have no counterpart in JSON and ARRAY columns; a
  VARCHAR column takes their text.

| PostgreSQL | StarRocks | in a key | sent as | what may not fit |
|---|---|---|---|---|
";

const CHOICES: &str = "
## Where there is a choice

Settings choose the type of created columns. A column that exists keeps its type, whatever they say.

| PostgreSQL | setting | StarRocks | sent as | what may not fit |
|---|---|---|---|---|
";

/// The reference page, Markdown, for these source types by their names.
pub fn types_page(types: &[(String, ColumnType)]) -> String {
    let mut page = INTRO.to_owned();
    for (names, Mapping { value, key, sent, misfits, .. }) in rows(types) {
        push(&mut page, format_args!("| {} | {value} | {key} | {sent} | {misfits} |\n", names.join(", ")));
    }
    page.push_str(CHOICES);
    let array = |element: ColumnType| ColumnType::Array { element: Box::new(element), delimiter: b',' };
    let rules = TypeRules::default();
    let decimal = NumericAs::Decimal { precision: 38, scale: 9 };
    let choices = [
        (
            "numeric",
            "NUMERIC_AS",
            "decimal(38,9)",
            ColumnType::Numeric { digits: None },
            TypeRules { numeric: decimal, ..rules },
        ),
        ("json, jsonb", "JSON_AS", "varchar", ColumnType::Jsonb, TypeRules { json: JsonAs::Varchar, ..rules }),
        ("integer[]", "ARRAY_AS", "array", array(ColumnType::Int32), TypeRules { array: ArrayAs::Array, ..rules }),
        (
            "jsonb[], bytea[]",
            "ARRAY_AS",
            "array",
            array(ColumnType::Jsonb),
            TypeRules { array: ArrayAs::Array, ..rules },
        ),
        ("text[]", "ARRAY_AS", "varchar", array(ColumnType::Text), TypeRules { array: ArrayAs::Varchar, ..rules }),
        ("bytea", "BYTEA_AS", "varbinary", ColumnType::Bytea, TypeRules { bytea: ByteaAs::Varbinary, ..rules }),
    ];
    for (name, setting, word, ty, rules) in choices {
        let Mapping { value, sent, misfits, .. } = mapping(&ty, &rules);
        push(&mut page, format_args!("| {name} | `{setting}={word}` | {value} | {sent} | {misfits} |\n"));
    }
    page
}

/// The types that share a row of the table, in the order of the first of them.
fn rows(types: &[(String, ColumnType)]) -> Vec<(Vec<&str>, Mapping)> {
    let mut rows: Vec<(Vec<&str>, Mapping)> = Vec::new();
    for (name, ty) in types {
        let mapping = mapping(ty, &TypeRules::default());
        match rows.iter_mut().find(|(_, row)| *row == mapping) {
            Some((names, _)) => names.push(name),
            None => rows.push((vec![name], mapping)),
        }
    }
    rows
}

fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
}
