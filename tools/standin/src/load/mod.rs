//! A load's body becomes a batch of typed rows.
//!
//! What is modelled: JSON (an array, or objects one after the other), `columns` of plain names and a constant `__op`,
//! `strict_mode`, `max_filter_ratio`, partial update. Rules: StarRocks source, `json_scanner.cpp`, `tablet_sink.cpp`,
//! `Load.java`; StarRocks documentation, "STREAM LOAD".

use std::sync::Arc;

use crate::Shared;
use crate::http::Request;
use crate::json::{JsonError, Reader, Token, unescape};
use crate::store::convert::{self, Invalid};
use crate::store::{Batch, Cell, Counts, KEY_BYTES_MAX, RowOp, SrType, TableDef, TableModel, WriteMode, encode_key};

/// Rows ready to be committed.
pub(crate) struct Outcome {
    pub(crate) batch: Batch,
    pub(crate) counts: Counts,
}

/// Headers that are refused before a transaction begins.
pub(crate) fn check_head(request: &Request, shared: &Shared) -> Result<(), String> {
    match request.header("format") {
        Some("json") => {}
        other => return Err(format!("unknown data format, format={}", other.unwrap_or("csv"))),
    }
    if let Some(strict) = request.header("strict_mode")
        && !["true", "false"].contains(&strict.to_ascii_lowercase().as_str())
    {
        return Err("Invalid strict mode format. Must be bool type".to_string());
    }
    if ["where", "jsonpaths", "json_root", "compression", "content-encoding"]
        .iter()
        .any(|name| request.header(name).is_some())
    {
        return Err("the stand-in does not model this header".to_string());
    }
    let limit = shared.store.settings().json_bytes_max;
    let length: u64 = request.header("content-length").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    if length > limit && !request.is_set("ignore_json_size") {
        return Err(format!(
            "The size of this batch exceed the max size [{limit}]  of json type data  data [ {length} ]. Set \
             ignore_json_size to skip the check, although it may lead huge memory consuming."
        ));
    }
    Ok(())
}

/// Where a load's columns go.
struct Plan {
    table: Arc<TableDef>,
    /// Column places by JSON key.
    fields: Vec<(String, usize)>,
    /// `__op` for every row.
    op: Option<RowOp>,
    mode: WriteMode,
    strict: bool,
}

/// Reads the body. `filter_one` counts one good row as filtered.
pub(crate) fn run(
    request: &Request,
    shared: &Shared,
    database: &str,
    table: &str,
    body: &[u8],
    filter_one: bool,
) -> Result<Outcome, (String, Counts)> {
    let none = |text: String| (text, Counts::default());
    let table = shared.store.table(database, table).map_err(|error| none(error.to_string()))?;
    let plan = plan(request, table).map_err(none)?;
    let mut rows = Vec::new();
    let mut counts = Counts::default();
    let mut first_fault = String::new();
    let outer = request.is_set("strip_outer_array");
    let mut skip_one = filter_one;
    let read = each_row(body, outer, |object| {
        counts.total += 1;
        match row(&plan, object)? {
            Ok(_) if std::mem::take(&mut skip_one) => counts.filtered += 1,
            Ok(row) => rows.push(row),
            Err(fault) => {
                counts.filtered += 1;
                first_fault = fault;
            }
        }
        Ok::<(), Fatal>(())
    });
    read.map_err(|Fatal(text)| (text, counts))?;
    counts.loaded = rows.len() as u64;
    counts.deletes = rows.iter().filter(|(op, _)| *op == RowOp::Delete).count() as u64;
    if counts.total == 0 {
        return Err(("all partitions have no load data".to_string(), counts));
    }
    let ratio: f64 = request.header("max_filter_ratio").and_then(|text| text.parse().ok()).unwrap_or(0.0);
    if !filter_one && counts.filtered as f64 / counts.total as f64 > ratio {
        tracing::debug!(fault = first_fault, "rows were filtered");
        return Err(("too many filtered rows".to_string(), Counts { loaded: 0, ..counts }));
    }
    Ok(Outcome { batch: Batch { table: plan.table, mode: plan.mode, merge_condition: None, rows }, counts })
}

/// A syntax error or the like: the whole load fails.
struct Fatal(String);

impl From<JsonError> for Fatal {
    fn from(error: JsonError) -> Self {
        Fatal(format!("parse error. error: {error}"))
    }
}

fn each_row(body: &[u8], outer: bool, mut each: impl FnMut(&[u8]) -> Result<(), Fatal>) -> Result<(), Fatal> {
    let mut reader = Reader::new(body);
    match (reader.peek(), outer) {
        (None, _) => Ok(()),
        (Some(b'['), true) => {
            reader.elements(|element| match element {
                Token::Object(object) => each(object),
                _ => Err(Fatal("the value should be object type".to_string())),
            })?;
            match reader.peek() {
                None => Ok(()),
                Some(_) => Err(Fatal("there is text behind the array".to_string())),
            }
        }
        (Some(b'['), false) => Err(Fatal(
            "The value is array type in json document stream, you can set strip_outer_array=true to parse each element \
             of the array as individual rows"
                .to_string(),
        )),
        (Some(b'{'), true) => {
            Err(Fatal("the value should be array type with strip_outer_array=true, value: {".to_string()))
        }
        (Some(b'{'), false) => {
            while reader.peek().is_some() {
                match reader.value()? {
                    Token::Object(object) => each(object)?,
                    _ => return Err(Fatal("the value should be object type".to_string())),
                }
            }
            Ok(())
        }
        (Some(other), _) => Err(Fatal(format!("illegal json started with [{}]", char::from(other)))),
    }
}

fn plan(request: &Request, table: Arc<TableDef>) -> Result<Plan, String> {
    let partial = request.is_set("partial_update");
    if partial && table.model != TableModel::Primary {
        return Err("Only primary key table support partial update".to_string());
    }
    let mut fields: Vec<(String, usize)> = Vec::new();
    let mut op = None;
    match request.header("columns") {
        None => {
            let own = table.columns.iter().enumerate().filter(|(_, column)| column.generated.is_none());
            fields.extend(own.map(|(at, column)| (column.name.clone(), at)));
        }
        Some(columns) => {
            for entry in split(columns) {
                if let Some((name, value)) = entry.split_once('=') {
                    if plain(name) != "__op" {
                        return Err("the stand-in models no expression but a constant __op".to_string());
                    }
                    op = Some(constant_op(value.trim())?);
                    continue;
                }
                let name = plain(&entry);
                if let Some(at) = table.column_index(&name) {
                    fields.push((name, at));
                }
            }
        }
    }
    let key = table.columns.iter().enumerate().filter(|(_, column)| column.key);
    for (at, column) in key {
        if partial && !fields.iter().any(|(_, place)| *place == at) {
            return Err(format!("key column {} not in partial update columns", column.name));
        }
    }
    let mode = match partial {
        true => WriteMode::Partial(fields.iter().map(|(_, at)| *at).collect()),
        false => WriteMode::Full,
    };
    Ok(Plan { table, fields, op, mode, strict: request.is_set("strict_mode") })
}

fn constant_op(value: &str) -> Result<RowOp, String> {
    match value.trim_matches(['\'', '"']).to_ascii_lowercase().as_str() {
        "upsert" | "0" => Ok(RowOp::Upsert),
        "delete" | "1" => Ok(RowOp::Delete),
        other => Err(format!("load op type string not supported: {other}")),
    }
}

/// Splits at commas outside of back-quotes.
fn split(columns: &str) -> Vec<String> {
    let (mut entries, mut quoted) = (vec![String::new()], false);
    for c in columns.chars() {
        match c {
            '`' => quoted = !quoted,
            ',' if !quoted => {
                entries.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(entry) = entries.last_mut() {
            entry.push(c);
        }
    }
    entries
}

fn plain(name: &str) -> String {
    let name = name.trim();
    match name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
        Some(inside) => inside.replace("``", "`"),
        None => name.to_string(),
    }
}

type Checked = Result<(RowOp, Arc<[Cell]>), String>;

/// One object as a row; the inner error filters the row.
fn row(plan: &Plan, object: &[u8]) -> Result<Checked, Fatal> {
    let mut cells = vec![Cell::Null; plan.table.columns.len()];
    let mut seen = vec![false; plan.table.columns.len()];
    let mut op = plan.op;
    let mut fault = None;
    let mut saw_op = false;
    Reader::new(object).members(|key, token| {
        let key = unescape(key)?;
        if key.as_ref() == b"__op" {
            if plan.op.is_none() && !std::mem::replace(&mut saw_op, true) {
                op = Some(row_op(token)?);
            }
            return Ok(());
        }
        // The names of JSON are compared with regard to case; of a name that comes twice the first counts.
        let found = plan.fields.iter().find(|(name, _)| name.as_bytes() == key.as_ref());
        let Some((_, at)) = found.filter(|(_, at)| !seen[*at]) else { return Ok(()) };
        seen[*at] = true;
        let column = &plan.table.columns[*at];
        match convert::cell_from_json(&column.ty, token) {
            Ok(cell) => cells[*at] = cell,
            Err(_) if !plan.strict => {}
            Err(invalid) => fault = Some(explained(invalid, &column.name, &column.ty)),
        }
        Ok::<(), Fatal>(())
    })?;
    let wanted = |at: &usize| match &plan.mode {
        WriteMode::Full => true,
        WriteMode::Partial(places) => places.contains(at),
    };
    for (at, column) in plan.table.columns.iter().enumerate() {
        let required = !column.nullable || column.key;
        if required && wanted(&at) && cells[at].is_null() && column.generated.is_none() && !column.auto_increment {
            fault.get_or_insert_with(|| format!("NULL value in non-nullable column '{}'", column.name));
        }
    }
    if plan.table.model == TableModel::Primary
        && fault.is_none()
        && encode_key(plan.table.key(), &cells).len() > KEY_BYTES_MAX
    {
        return Err(Fatal("primary key size exceed the limit.".to_string()));
    }
    Ok(match fault {
        Some(fault) => Err(fault),
        None => Ok((op.unwrap_or(RowOp::Upsert), cells.into())),
    })
}

fn row_op(token: Token<'_>) -> Result<RowOp, Fatal> {
    match token {
        Token::Number(b"0") | Token::Text(b"0") | Token::Null => Ok(RowOp::Upsert),
        Token::Number(b"1") | Token::Text(b"1") => Ok(RowOp::Delete),
        _ => Err(Fatal("__op must be 0 or 1".to_string())),
    }
}

fn explained(invalid: Invalid, column: &str, ty: &SrType) -> String {
    match invalid {
        Invalid::TooLong { length } => {
            format!("String (length={length}) is too long. The max length of '{column}' is that of {}", ty.desc())
        }
        Invalid::Overflow | Invalid::Unreadable => {
            format!("Value is out of range. The type of '{column}' is {}", ty.error_name())
        }
    }
}
