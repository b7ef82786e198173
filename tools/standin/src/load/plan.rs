//! What a load does with the fields of its source: the frontend's part of a load.
//!
//! In: headers and the table. Out: a `Plan`, or the text the planner refuses with (StarRocks source, `Load.java`,
//! `StreamLoadPlanner.java`). Always: made once per load; holds the table as it is at that moment, so a column added
//! later does not exist for this load.

use std::sync::Arc;

use super::columns::ColumnList;
use super::expression::Expression;
use super::path::JsonPath;
use super::request::{Format, LoadRequest};
use super::row_sink::RowSink;
use crate::store::convert::column_default;
use crate::store::{Batch, Cell, ColumnDef, ColumnDefault, Counts, SrType, TableDef, TableModel, WriteMode};

/// Name of the pseudo column that says upsert (0) or delete (1).
pub(super) const OP: &str = "__op";

/// Where a column's value comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Feed {
    /// A field, by place.
    Field(usize),
    /// An expression over fields.
    Computed(Expression),
    /// The column's default.
    Default(Cell),
    /// Not touched by this partial update.
    Untouched,
}

/// Where `__op` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OpFeed {
    Field(usize),
    Constant(i8),
}

/// A planned load.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) table: Arc<TableDef>,
    pub(super) request: LoadRequest,
    /// Names of the source's fields.
    pub(super) fields: Vec<String>,
    /// One per column of the table.
    pub(super) feeds: Vec<Feed>,
    pub(super) op: OpFeed,
    pub(super) paths: Option<Vec<JsonPath>>,
    pub(super) root: Option<JsonPath>,
    pub(super) mode: WriteMode,
    pub(super) merge_condition: Option<usize>,
}

/// A body read to its end.
#[derive(Debug)]
pub struct Loaded {
    /// The rows that count.
    pub batch: Batch,
    /// How many of what.
    pub counts: Counts,
    /// `Error: .. Row: ..`, at most 50.
    pub error_lines: Vec<String>,
    /// Set if the body as a whole cannot be loaded, whatever share of rows may be filtered.
    pub failure: Option<String>,
}

impl Plan {
    /// Plans a load of `table`.
    pub fn new(request: LoadRequest, table: Arc<TableDef>, now_micros: i64) -> Result<Plan, String> {
        let list = ColumnList::parse_if_any(&request.columns)?;
        let takes_op = table.model == TableModel::Primary;
        let (fields, computed) = match list {
            // Expressions alone name no field of the source.
            Some(list) if list.fields.is_empty() => (implicit_fields(&table), list.computed),
            Some(list) => (list.fields, list.computed),
            None => (implicit_fields(&table), Vec::new()),
        };
        let fields = with_op(fields, &computed, takes_op && request.format == Format::Json);
        check_computed(&table, &fields, &computed)?;
        let (mode, feeds) = feeds(&request, &table, &fields, &computed, now_micros)?;
        let op = if takes_op { op_feed(&fields, &computed)? } else { OpFeed::Constant(0) };
        let merge_condition = merge_condition(&request, &table, &mode)?;
        let paths = Some(request.jsonpaths.as_str()).filter(|text| !text.is_empty());
        let root = Some(request.json_root.as_str()).filter(|text| !text.is_empty());
        Ok(Plan {
            paths: paths.map(JsonPath::parse_list).transpose()?,
            root: root.map(JsonPath::parse).transpose()?,
            table,
            request,
            fields,
            feeds,
            op,
            mode,
            merge_condition,
        })
    }

    /// The table as planned.
    pub fn table(&self) -> &Arc<TableDef> {
        &self.table
    }

    /// The headers.
    pub fn request(&self) -> &LoadRequest {
        &self.request
    }

    /// What a load with these counts fails with, if it does: too many filtered rows, or none at all.
    pub fn verdict(&self, counts: &Counts) -> Option<String> {
        if counts.filtered as f64 > counts.total as f64 * self.request.max_filter_ratio {
            return Some("too many filtered rows".to_string());
        }
        (counts.loaded == 0).then(|| "all partitions have no load data".to_string())
    }

    /// Reads a whole body, still compressed.
    pub fn load(&self, body: Vec<u8>) -> Loaded {
        let bytes = body.len() as u64;
        let mut sink = RowSink::new(self);
        let read = self.request.compression.expand(body).and_then(|body| match self.request.format {
            Format::Json => super::json_rows::read(self, &body, &mut sink),
            Format::Csv => {
                super::csv::read(self, &body, &mut sink);
                Ok(())
            }
        });
        let mut loaded = sink.finish(read);
        loaded.counts.bytes = bytes;
        loaded
    }
}

impl ColumnList {
    fn parse_if_any(text: &str) -> Result<Option<ColumnList>, String> {
        if text.trim().is_empty() { Ok(None) } else { ColumnList::parse(text).map(Some) }
    }
}

/// Without a `columns` header the fields are the table's columns, generated and AUTO_INCREMENT ones left out.
fn implicit_fields(table: &TableDef) -> Vec<String> {
    let loaded = |column: &&ColumnDef| column.generated.is_none() && !column.auto_increment;
    table.columns.iter().filter(loaded).map(|column| column.name.clone()).collect()
}

/// JSON loads of PRIMARY KEY tables know `__op` even if it is not listed.
fn with_op(mut fields: Vec<String>, computed: &[(String, Expression)], wanted: bool) -> Vec<String> {
    let named = fields.iter().chain(computed.iter().map(|(name, _)| name)).any(|name| name.eq_ignore_ascii_case(OP));
    if wanted && !named {
        fields.push(OP.to_string());
    }
    fields
}

fn check_computed(table: &TableDef, fields: &[String], computed: &[(String, Expression)]) -> Result<(), String> {
    for (name, expression) in computed {
        if !name.eq_ignore_ascii_case(OP) && table.column_index(name).is_none() {
            return Err(format!("Mapping column is not in table. column: {name}"));
        }
        if let Some(used) = expression.fields()
            && !fields.iter().any(|field| field.eq_ignore_ascii_case(used))
        {
            return Err(format!("unknown reference column, column={name}, reference={used}"));
        }
    }
    Ok(())
}

fn feeds(
    request: &LoadRequest,
    table: &TableDef,
    fields: &[String],
    computed: &[(String, Expression)],
    now_micros: i64,
) -> Result<(WriteMode, Vec<Feed>), String> {
    let partial = request.partial_update && !request.columns.trim().is_empty();
    if request.partial_update && table.model != TableModel::Primary {
        return Err("Only primary key table support partial update".to_string());
    }
    let row_store =
        table.properties.get("storage_type").is_some_and(|kind| kind.eq_ignore_ascii_case("column_with_row"));
    if partial && request.column_mode && row_store {
        return Err("column with row table only support row mode partial update".to_string());
    }
    let mut listed = Vec::new();
    let mut feeds = Vec::with_capacity(table.columns.len());
    for (at, column) in table.columns.iter().enumerate() {
        let expression = computed.iter().find(|(name, _)| column.is_called(name)).map(|(_, expression)| expression);
        let field = fields.iter().position(|name| column.is_called(name));
        feeds.push(match (expression, field) {
            (Some(expression), _) => Feed::Computed(expression.clone()),
            (None, Some(field)) => Feed::Field(field),
            (None, None) if partial => {
                check_left_out(table, column)?;
                Feed::Untouched
            }
            (None, None) => Feed::Default(left_out(column, now_micros)?),
        });
        if feeds.last() != Some(&Feed::Untouched) {
            listed.push(at);
        }
    }
    let all = listed.len() == table.columns.len();
    Ok((if partial && !all { WriteMode::Partial(listed) } else { WriteMode::Full }, feeds))
}

/// A partial update must list the key, and the sort key where it is another.
fn check_left_out(table: &TableDef, column: &ColumnDef) -> Result<(), String> {
    if column.key {
        return Err(format!("key column {} not in partial update columns", column.name));
    }
    if table.sort_key.iter().any(|name| column.is_called(name)) {
        return Err("partial update on table with sort key must provide all sort key columns".to_string());
    }
    Ok(())
}

/// A column the `columns` header leaves out takes its default, or NULL.
fn left_out(column: &ColumnDef, now_micros: i64) -> Result<Cell, String> {
    let constant = matches!(column.default, Some(ColumnDefault::Constant(_) | ColumnDefault::CurrentTimestamp));
    if constant || column.nullable || column.auto_increment || column.generated.is_some() {
        Ok(column_default(column, now_micros))
    } else {
        Err(format!("Column has no default value. column: {}", column.name))
    }
}

fn op_feed(fields: &[String], computed: &[(String, Expression)]) -> Result<OpFeed, String> {
    let constant = "const load op type column should only be upsert(0)/delete(1)";
    match computed.iter().find(|(name, _)| name.eq_ignore_ascii_case(OP)).map(|(_, expression)| expression) {
        Some(Expression::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "upsert" => Ok(OpFeed::Constant(0)),
            "delete" => Ok(OpFeed::Constant(1)),
            _ => Err(format!("load op type string not supported: {text}")),
        },
        // Any integer passes; what is neither 0 nor 1 is treated as it would be in a row.
        Some(Expression::Number(text)) => text.parse().map(OpFeed::Constant).map_err(|_| constant.to_string()),
        Some(Expression::Field(name)) => {
            let at = fields.iter().position(|field| field.eq_ignore_ascii_case(name));
            at.map(OpFeed::Field).ok_or_else(|| constant.to_string())
        }
        Some(_) => Err(constant.to_string()),
        None => {
            let at = fields.iter().position(|field| field.eq_ignore_ascii_case(OP));
            Ok(at.map_or(OpFeed::Constant(0), OpFeed::Field))
        }
    }
}

fn merge_condition(request: &LoadRequest, table: &TableDef, mode: &WriteMode) -> Result<Option<usize>, String> {
    let name = request.merge_condition.as_str();
    if name.is_empty() {
        return Ok(None);
    }
    if table.model != TableModel::Primary {
        return Err(format!("Conditional update only support primary key table {}", table.name));
    }
    let missing = || {
        format!(
            "Merge condition column {name} does not exist. If you are doing partial update with condition update, please \
             check condition column is in the given update columns. Otherwise please check condition column is in table {}",
            table.name
        )
    };
    let at = table.column_index(name).ok_or_else(missing)?;
    let column = &table.columns[at];
    if column.key {
        return Err(format!("Merge condition column {name} should not be primary key!"));
    }
    if let WriteMode::Partial(listed) = mode
        && !listed.contains(&at)
    {
        return Err(missing());
    }
    match column.ty {
        SrType::Char(_) | SrType::Varchar(_) | SrType::Json | SrType::VarBinary(_) => {
            Err("Merge condition column has invalid type maybe bitmap/hll/percentile/json/varchar!".to_string())
        }
        SrType::Array(_) => Err("starrocks-standin does not model an ARRAY as merge condition".to_string()),
        _ => Ok(Some(at)),
    }
}
