//! Reads target tables as they are now, for a comparison with the source.
//!
//! In: a source schema. Out: rows as the server prints them, one by one. Always: changes nothing; rows marked as
//! deleted do not count; a table that differs from what it should look like is compared as far as it goes, and what
//! is left out is named. Not here: how values are spelled (`spelling`), what is compared (`verify`). Start at
//! [`Contents::open`].

use std::sync::Arc;

use tokio::sync::Mutex;

use super::instead::{Instead, instead};
use super::options::Options;
use super::plan::PlanColumn;
use super::prepare::describe;
use super::reasons::Code;
use super::spelling::Form;
use super::sql::{Sql, SqlError};
use super::table::{Described, audit_columns};
use super::value::Writer;
use super::{ddl, escape};
use crate::model::{EachRow, Reason, TableSchema};
use crate::sink::{LeftOut, Reader, Spelling};

/// Keys in one statement.
const KEYS_MAX: usize = 500;

/// How long the server may work on one reading, in seconds. Its own limit of five minutes is short for a large table.
const QUERY_SECONDS: u32 = 259_200;

/// The target tables, over one connection at a time.
#[derive(Debug)]
pub struct Contents {
    options: Options,
    sql: Mutex<Sql>,
}

/// One source column in the target.
#[derive(Clone, Debug)]
struct ComparedColumn {
    /// Name as the target spells it.
    name: String,
    form: Form,
    /// Where something else is loaded for values that do not fit: what that is.
    planned: Option<PlanColumn>,
}

/// A target table that was looked at.
#[derive(Clone, Debug)]
pub struct Copied {
    schema: Arc<TableSchema>,
    /// For each source column, if it can be compared.
    compared: Vec<Option<ComparedColumn>>,
    order: Vec<usize>,
    left_out: Vec<LeftOut>,
    /// The condition that leaves out rows marked as deleted.
    living: Option<String>,
}

impl Contents {
    /// Logs in.
    ///
    /// # Errors
    /// If no frontend takes us.
    pub async fn connect(options: Options) -> Result<Contents, Reason> {
        let mut sql = Sql::connect(&options).await?;
        let statement = format!("SET query_timeout = {QUERY_SECONDS}");
        sql.run(&statement).await.map_err(|error| error.reason(&options, "", "setting the time for reading"))?;
        Ok(Contents { options, sql: Mutex::new(sql) })
    }

    async fn read(
        &self,
        table: &Copied,
        columns: &[usize],
        among: Option<&str>,
        each: EachRow<'_>,
    ) -> Result<(), Reason> {
        let names: Vec<String> = columns.iter().filter_map(|at| table.name(*at)).collect();
        let conditions: Vec<&str> = table.living.as_deref().into_iter().chain(among).collect();
        let wanted = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let from = ddl::table(&self.options.database, &table.schema.target);
        let query = format!("SELECT {} FROM {from}{wanted}", names.join(", "));
        let read = self.sql.lock().await.each(&query, each).await;
        read.map_err(|error| unreadable(&error, &self.options, &table.schema))
    }
}

/// The server may quote the statement, which may hold keys.
fn unreadable(error: &SqlError, options: &Options, schema: &TableSchema) -> Reason {
    let hidden = match error {
        SqlError::Server { code, .. } => SqlError::Server { code: *code, message: "its text may hold keys".into() },
        SqlError::Lost(text) => SqlError::Lost(text.clone()),
    };
    hidden.reason(options, &schema.name.to_string(), "reading the target table")
}

impl Copied {
    /// # Errors
    /// If a key column is missing: rows cannot be told apart then.
    fn new(schema: Arc<TableSchema>, described: &Described, options: &Options) -> Result<Copied, Reason> {
        let mut left_out = Vec::new();
        let mut compared = Vec::with_capacity(schema.columns.len());
        for (at, column) in schema.columns.iter().enumerate() {
            let there = described.column(&column.name);
            if there.is_none() && schema.is_key(at) {
                let message = format!("the target table lacks the key column {}", column.name);
                return Err(Code::Key.reason(schema.name.to_string(), message));
            }
            if there.is_none() {
                let why = "is missing in the target".to_owned();
                left_out.push(LeftOut { column: column.name.clone(), why });
            }
            compared.push(there.map(|there| {
                let key = schema.is_key(at);
                let planned = Writer::new(&column.ty, key, &there.ty).map(|writer| {
                    PlanColumn::new(&there.name, writer, there.nullable, key)
                        .with_policies(&options.on_bad_value, &column.ty)
                });
                ComparedColumn {
                    name: there.name.clone(),
                    form: Form::of(&column.ty, &there.ty),
                    planned: planned.filter(|column| !column.policies.all_block()),
                }
            }));
        }
        let others = (0..compared.len()).filter(|at| compared[*at].is_some() && !schema.is_key(*at));
        let order = schema.key.iter().copied().chain(others).collect();
        let marks = options.audit_prefix.iter().map(|prefix| audit_columns(prefix)[1].name.clone());
        let mark = marks.into_iter().find_map(|mark| described.column(&mark)).map(|column| ddl::name(&column.name));
        // Rows that came by other means have no mark.
        let living = mark.map(|mark| format!("({mark} = 0 OR {mark} IS NULL)"));
        Ok(Copied { schema, compared, order, left_out, living })
    }

    fn name(&self, column: usize) -> Option<String> {
        self.column(column).map(|column| ddl::name(&column.name))
    }

    fn column(&self, column: usize) -> Option<&ComparedColumn> {
        self.compared.get(column)?.as_ref()
    }

    /// The condition for these keys. StarRocks compares tuples too, but finds keys faster by plain conditions.
    fn among(&self, keys: &[Vec<String>]) -> String {
        let columns: Vec<&ComparedColumn> = self.schema.key.iter().filter_map(|at| self.column(*at)).collect();
        let literal = |column: &ComparedColumn, text: &String| match column.form.is_bare(text) {
            true => text.clone(),
            false => ddl::text(text),
        };
        if let [column] = columns[..] {
            let list: Vec<String> = keys.iter().flatten().map(|text| literal(column, text)).collect();
            return format!("{} IN ({})", ddl::name(&column.name), list.join(", "));
        }
        let is = |(column, text): (&&ComparedColumn, &String)| {
            format!("{} = {}", ddl::name(&column.name), literal(column, text))
        };
        let all =
            |key: &Vec<String>| format!("({})", columns.iter().zip(key).map(is).collect::<Vec<_>>().join(" AND "));
        format!("({})", keys.iter().map(all).collect::<Vec<_>>().join(" OR "))
    }
}

impl Spelling for Copied {
    fn columns(&self) -> &[usize] {
        &self.order
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    fn source(&self, column: usize, text: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(column) = self.column(column) else { return false };
        let Some(planned) = &column.planned else { return column.form.source(text, out) };
        let start = out.len();
        let written = planned.writer.write(text, out);
        out.truncate(start);
        // A value that blocks is not there: it is taken as it is, and differs.
        match written.err().and_then(|unfit| instead(planned, text, unfit, |_| ()).ok()) {
            None => column.form.source(text, out),
            Some(Instead::Null) => false,
            Some(Instead::Value(text)) => column.form.source(&text, out),
            Some(Instead::Text(text)) => {
                let mut document = Vec::new();
                escape::string(&text, &mut document);
                column.form.target(&document, out)
            }
        }
    }

    fn target(&self, column: usize, text: &[u8], out: &mut Vec<u8>) -> bool {
        self.column(column).is_some_and(|column| column.form.target(text, out))
    }
}

impl Reader for Contents {
    type Table = Copied;

    async fn open(&self, schema: Arc<TableSchema>) -> Result<Copied, Reason> {
        let described = describe(&self.options, &mut *self.sql.lock().await, &schema).await?;
        let Some(described) = described else {
            let message = format!("table {}.{} does not exist", self.options.database, schema.target);
            let remedy =
                "Start `sluicegate run` with the same settings, which creates it unless CREATE_TABLES is false.";
            let reason = Code::TableMissing.reason(schema.name.to_string(), message);
            return Err(Reason { remedy: remedy.into(), ..reason });
        };
        Copied::new(schema, &described, &self.options)
    }

    async fn scan(&self, table: &Copied, columns: &[usize], each: EachRow<'_>) -> Result<(), Reason> {
        self.read(table, columns, None, each).await
    }

    async fn rows(
        &self,
        table: &Copied,
        columns: &[usize],
        keys: &[Vec<String>],
        each: EachRow<'_>,
    ) -> Result<(), Reason> {
        for keys in keys.chunks(KEYS_MAX) {
            self.read(table, columns, Some(&table.among(keys)), each).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, TableId, TableName};
    use crate::sink::starrocks::policy::{BadClass, Policies, Policy};
    use crate::sink::starrocks::table::DescribedColumn;
    use crate::sink::starrocks::tests::options;
    use crate::sink::starrocks::types::Target;

    fn copied(columns: &[(&str, ColumnType)], key: &[usize], there: &[(&str, &str)]) -> Result<Copied, Reason> {
        let columns = columns
            .iter()
            .map(|(name, ty)| Column { name: (*name).to_owned(), ty: ty.clone(), nullable: true })
            .collect();
        let name = TableName { schema: "shop".into(), name: "orders".into() };
        let target = "orders".to_owned();
        let schema = TableSchema { id: TableId(1), name, target, columns, key: key.to_vec(), complete: true };
        let column = |(name, ty): &(&str, &str)| DescribedColumn {
            name: (*name).to_owned(),
            ty: Target::read(ty),
            nullable: true,
            filled: false,
        };
        let described = Described { columns: there.iter().map(column).collect(), ..Described::default() };
        let policies = Policies::all(Policy::Null).with(BadClass::TextLength, Policy::Clamp);
        let policies = policies.and_then(|policies| policies.with(BadClass::JsonNumber, Policy::Text)).unwrap();
        let options = Options { on_bad_value: policies, ..options() };
        Copied::new(Arc::new(schema), &described, &options)
    }

    #[test]
    fn what_can_be_compared_is_and_the_rest_is_named() {
        let columns = [("a", ColumnType::Text), ("Id", ColumnType::Int64), ("b", ColumnType::Int32)];
        let table = copied(&columns, &[1], &[("ID", "bigint"), ("b", "int"), ("sluice_is_deleted", "boolean")]);
        let table = table.unwrap();
        assert_eq!(table.columns(), [1, 2], "the key first");
        assert_eq!(table.left_out(), [LeftOut { column: "a".into(), why: "is missing in the target".into() }]);
        assert_eq!(table.living.as_deref(), Some("(`sluice_is_deleted` = 0 OR `sluice_is_deleted` IS NULL)"));
        let keys = [vec!["1".to_owned()], vec!["0 OR 1".to_owned()]];
        assert_eq!(table.among(&keys), "`ID` IN (1, '0 OR 1')");
        let reason = copied(&columns, &[1], &[("a", "string")]).unwrap_err();
        assert_eq!(reason.code, "SINK_KEY");
    }

    #[test]
    fn several_key_columns_are_asked_for_one_by_one() {
        let columns = [("a", ColumnType::Text), ("b", ColumnType::Int32)];
        let table = copied(&columns, &[1, 0], &[("a", "varchar(128)"), ("b", "int")]).unwrap();
        let keys = [vec!["1".to_owned(), "x'y\\".to_owned()], vec!["-2".to_owned(), String::new()]];
        assert_eq!(table.among(&keys), "((`b` = 1 AND `a` = 'x\\'y\\\\') OR (`b` = -2 AND `a` = ''))");
    }

    #[test]
    fn what_is_loaded_instead_of_a_value_is_expected() {
        let columns = [
            ("id", ColumnType::Int32),
            ("at", ColumnType::Timestamp),
            ("note", ColumnType::Text),
            ("doc", ColumnType::Json),
        ];
        let there = [("id", "int"), ("at", "datetime"), ("note", "varchar(3)"), ("doc", "json")];
        let table = copied(&columns, &[0], &there).unwrap();
        let spelled = |column, text: &str| {
            let mut out = b"before ".to_vec();
            table.source(column, text.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
        };
        let from_target = |column, text: &str| {
            let mut out = b"before ".to_vec();
            table.target(column, text.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
        };
        // column, in the source, what StarRocks shows of what was loaded
        let cases = [
            (1, "2024-01-01 00:00:00", Some("2024-01-01 00:00:00")),
            (1, "infinity", None),
            (2, "aéé", Some("aé")),
            (2, "aé", Some("aé")),
            (3, "[1, 2]", Some("[1, 2]")),
            (3, "{\"a\":1e400}", Some(r#""{\"a\":1e400}""#)),
            (3, "\"\\u0000\"", None),
        ];
        for (column, source, target) in cases {
            assert_eq!(spelled(column, source), target.and_then(|target| from_target(column, target)), "{source}");
        }
        assert_eq!(spelled(2, "aéé").as_deref(), Some("before aé"));
    }
}
