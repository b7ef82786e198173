//! CREATE, DROP, ALTER, TRUNCATE: from what was written to what the store is asked to do.
//!
//! In: parsed statements. Out: calls of the store's catalog.
//! Always: what is wrong with the statement alone is refused here; what is wrong with it for a given table, by the
//! store.
//! Not here: the matrix of type changes and the jobs (`store::alter`).
//! StarRocks docs, CREATE TABLE and ALTER TABLE; `CreateTableAnalyzer.java`, `AlterTableClauseAnalyzer.java`.

use crate::store::{
    Aggregation, ColumnChange, ColumnDef, ColumnDefault, Distribution, MAX_CHAR_BYTES, MAX_DECIMAL_DIGITS,
    MAX_VARCHAR_BYTES, NewTable, Place, STRING_BYTES, SrType, TableDef, TableModel,
};

use super::Executor;
use super::ast::*;
use super::error::SqlError;
use super::lexer::{TokenKind, place, tokens};
use super::result::Outcome;

impl Executor<'_> {
    pub(super) fn run_ddl(&mut self, statement: Statement) -> Result<Outcome, SqlError> {
        match statement {
            Statement::CreateDatabase { if_not_exists, name } => self.create_database(if_not_exists, &name)?,
            Statement::DropDatabase { if_exists, name } => self.drop_database(if_exists, &name)?,
            Statement::CreateTable(create) => self.create_table(create)?,
            Statement::CreateTableLike { if_not_exists, name, like } => {
                self.create_like(if_not_exists, &name, &like)?
            }
            Statement::DropTable { if_exists, name } => self.drop_table(if_exists, &name)?,
            Statement::AlterTable { name, clauses } => self.alter_table(&name, clauses)?,
            Statement::Truncate(name) => {
                let (database, table) = self.resolve(&name)?;
                self.frontend.store.truncate(&database, &table)?;
            }
            Statement::CancelAlter(name) => {
                let (database, table) = self.resolve(&name)?;
                self.frontend.store.cancel_alter(&database, &table)?;
            }
            _ => {}
        }
        Ok(Outcome::done())
    }

    fn create_database(&mut self, if_not_exists: bool, name: &str) -> Result<(), SqlError> {
        let first = name.chars().next().unwrap_or(' ');
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_-~!@#$%^&<>=+".contains(letter);
        if !(first.is_ascii_alphabetic() || first == '_') || name.len() > 256 || !name.chars().all(allowed) {
            let text = format!("Getting analyzing error. Detail message: Incorrect database name '{name}'.");
            return Err(SqlError::new(1102, "42000", text));
        }
        if self.frontend.has_database(name) && if_not_exists {
            return Ok(());
        }
        if super::SYSTEM_DATABASES.contains(&name) {
            return Err(crate::store::CatalogError::DatabaseExists(name.to_owned()).into());
        }
        Ok(self.frontend.store.create_database(name)?)
    }

    fn drop_database(&mut self, if_exists: bool, name: &str) -> Result<(), SqlError> {
        if super::SYSTEM_DATABASES.contains(&name) {
            return Err(SqlError::new(
                5203,
                "42000",
                format!(
                    "Access denied; you need (at least one of) the DROP privilege(s) on DATABASE {name} for this \
                     operation. Please ask the admin to grant permission(s) or try activating existing roles using \
                     <set [default] role>. Current role(s): [root]. Inactivated role(s): NONE."
                ),
            ));
        }
        if if_exists && !self.frontend.store.has_database(name) {
            return Ok(());
        }
        Ok(self.frontend.store.drop_database(name)?)
    }

    fn create_table(&mut self, create: CreateTable) -> Result<(), SqlError> {
        let (database, table) = self.resolve(&create.name)?;
        if create.if_not_exists && self.frontend.store.table(&database, &table).is_ok() {
            return Ok(());
        }
        if let Some(engine) = create.engine.as_deref().filter(|engine| !engine.eq_ignore_ascii_case("olap")) {
            return Err(SqlError::not_modelled(format!("ENGINE={engine}")));
        }
        let mut columns = Vec::new();
        for column in &create.columns {
            columns.push(self.column(column)?);
        }
        check_primary_nulls(&create)?;
        check_partition_columns(&create)?;
        let keys = match create.keys {
            Some((model, names)) => Some((table_model(model), names)),
            None => key_columns_written(&create.columns)?,
        };
        let buckets = create.distribution.as_ref().and_then(|distribution| distribution.buckets);
        let new = NewTable {
            name: table,
            columns,
            keys,
            sort_key: create.order_by,
            partition_by: create.partition_by,
            distribution: create.distribution.map(|written| match written.hash_columns.is_empty() {
                true => Distribution::Random,
                false => Distribution::Hash(written.hash_columns),
            }),
            buckets: buckets.map(checked_buckets).transpose()?,
            comment: create.comment.unwrap_or_default(),
            properties: create.properties,
        };
        self.frontend.store.create_table(&database, new)?;
        Ok(())
    }

    fn create_like(&mut self, if_not_exists: bool, name: &TableName, like: &TableName) -> Result<(), SqlError> {
        let (database, table) = self.resolve(name)?;
        let (like_database, like_table) = self.resolve(like)?;
        let pattern = self.frontend.store.table(&like_database, &like_table)?;
        if if_not_exists && self.frontend.store.table(&database, &table).is_ok() {
            return Ok(());
        }
        self.frontend.store.create_table(&database, as_new(&pattern, table))?;
        Ok(())
    }

    fn drop_table(&mut self, if_exists: bool, name: &TableName) -> Result<(), SqlError> {
        let (database, table) = self.resolve(name)?;
        if if_exists
            && self.frontend.store.has_database(&database)
            && self.frontend.store.table(&database, &table).is_err()
        {
            return Ok(());
        }
        Ok(self.frontend.store.drop_table(&database, &table)?)
    }

    fn alter_table(&mut self, name: &TableName, clauses: Vec<AlterClause>) -> Result<(), SqlError> {
        let (database, table) = self.resolve(name)?;
        let definition = self.frontend.store.table(&database, &table)?;
        let mut changes: Vec<ColumnChange> = Vec::new();
        let mut others = Vec::new();
        for clause in clauses {
            match clause {
                AlterClause::AddColumns(columns) => {
                    for (column, position) in columns {
                        self.check_added(&column, &definition)?;
                        push_added(&mut changes, self.column(&column)?, position.into())?;
                    }
                }
                AlterClause::DropColumn(column) => changes.push(ColumnChange::Drop(column)),
                AlterClause::ModifyColumn(column, position) => {
                    changes.push(self.modified(&column, position, &definition)?);
                }
                other => others.push(other),
            }
        }
        if !changes.is_empty() {
            self.frontend.store.alter_columns(&database, &table, &changes)?;
        }
        for clause in others {
            self.alter_other(&database, &table, clause)?;
        }
        Ok(())
    }

    fn alter_other(&mut self, database: &str, table: &str, clause: AlterClause) -> Result<(), SqlError> {
        let store = &self.frontend.store;
        match clause {
            AlterClause::CommentColumn(column, comment) => store.comment_column(database, table, &column, &comment)?,
            AlterClause::RenameColumn(from, to) => store.rename_column(database, table, &from, &to)?,
            AlterClause::Rename(to) => store.rename_table(database, table, &to)?,
            AlterClause::Swap(with) => store.swap_tables(database, table, &with)?,
            AlterClause::SetProperties(properties) => {
                for (name, value) in properties {
                    store.set_property(database, table, &name, &value)?;
                }
            }
            AlterClause::Comment(comment) => store.comment_table(database, table, &comment)?,
            AlterClause::AddColumns(_) | AlterClause::DropColumn(_) | AlterClause::ModifyColumn(..) => {}
        }
        Ok(())
    }

    /// What StarRocks' analyzer checks of ADD COLUMN before it looks at the table's state.
    fn check_added(&self, column: &ColumnDefinition, table: &TableDef) -> Result<(), SqlError> {
        let range = (place(self.sql, column.range.0), place(self.sql, column.range.1));
        if column.key && table.model == TableModel::Primary {
            let detail = format!(
                "Column definition is wrong. Cannot specify aggregate function 'REPLACE' for key column '{}'",
                column.name
            );
            return Err(SqlError::analyzing_range(range.0, range.1, detail));
        }
        if column.nullable == Some(false) && !column.auto_increment && column.default.is_none() {
            let detail = format!("Field '{}' is not null but doesn't have a default value", column.name);
            return Err(SqlError::analyzing_range(range.0, range.1, detail));
        }
        Ok(())
    }

    fn modified(
        &self,
        column: &ColumnDefinition,
        position: Option<ColumnPosition>,
        table: &TableDef,
    ) -> Result<ColumnChange, SqlError> {
        let mut new = self.column(column)?;
        let old = table.column_index(&column.name).map(|index| &table.columns[index]);
        if let Some(old) = old {
            new.nullable = column.nullable.unwrap_or(old.nullable);
            if column.comment.is_none() {
                new.comment.clone_from(&old.comment);
            }
        }
        Ok(ColumnChange::Modify { column: new, place: position.into() })
    }

    fn column(&self, written: &ColumnDefinition) -> Result<ColumnDef, SqlError> {
        if written.auto_increment {
            return Err(SqlError::not_modelled("AUTO_INCREMENT columns"));
        }
        if written.generated {
            return Err(SqlError::not_modelled("generated columns"));
        }
        let mut column = ColumnDef::new(written.name.clone(), column_type(&written.type_name)?);
        column.nullable = written.nullable.unwrap_or(true);
        column.key = written.key;
        column.comment = written.comment.clone().unwrap_or_default();
        column.aggregation = written.aggregate.as_deref().map(aggregation).transpose()?;
        column.default = match &written.default {
            Some(DefaultValue::Constant(Literal::Text(text))) => Some(ColumnDefault::Constant(text.clone())),
            Some(DefaultValue::Constant(_)) if written.nullable == Some(false) => {
                return Err(SqlError::analyzing(format!("Invalid default value for '{}'", written.name)));
            }
            Some(DefaultValue::Constant(_)) | None => None,
            Some(DefaultValue::Expression(text)) if text.starts_with("CURRENT_TIMESTAMP") => {
                Some(ColumnDefault::CurrentTimestamp)
            }
            Some(DefaultValue::Expression(text)) => Some(ColumnDefault::Expression(text.clone())),
        };
        if column.default == Some(ColumnDefault::CurrentTimestamp) && column.ty != SrType::DateTime {
            return Err(SqlError::analyzing(format!(
                "Invalid default value for '{}': Default function now() for type {} is not supported",
                column.name,
                column.ty.desc()
            )));
        }
        Ok(column)
    }
}

impl From<Option<ColumnPosition>> for Place {
    fn from(position: Option<ColumnPosition>) -> Self {
        match position {
            None => Place::Default,
            Some(ColumnPosition::First) => Place::First,
            Some(ColumnPosition::After(column)) => Place::After(column),
        }
    }
}

/// Adding one column twice in a statement is adding it once, if both times say the same.
fn push_added(changes: &mut Vec<ColumnChange>, column: ColumnDef, place: Place) -> Result<(), SqlError> {
    let earlier = changes.iter().find_map(|change| match change {
        ColumnChange::Add { column: earlier, .. } if earlier.is_called(&column.name) => Some(earlier),
        _ => None,
    });
    match earlier {
        None => changes.push(ColumnChange::Add { column, place }),
        Some(earlier) if *earlier == column => {}
        Some(_) => {
            let text = format!("Repeatedly add same column with different definition: {}", column.name);
            return Err(SqlError::refused(text));
        }
    }
    Ok(())
}

fn table_model(model: KeyModel) -> TableModel {
    match model {
        KeyModel::Primary => TableModel::Primary,
        KeyModel::Duplicate => TableModel::Duplicate,
        KeyModel::Unique => TableModel::Unique,
        KeyModel::Aggregate => TableModel::Aggregate,
    }
}

/// Without a key clause, value columns with an aggregate make an AGGREGATE KEY table of the others.
fn key_columns_written(columns: &[ColumnDefinition]) -> Result<Option<(TableModel, Vec<String>)>, SqlError> {
    if columns.iter().all(|column| column.aggregate.is_none()) {
        return Ok(None);
    }
    let keys = columns.iter().filter(|column| column.aggregate.is_none()).map(|column| column.name.clone());
    Ok(Some((TableModel::Aggregate, keys.collect())))
}

/// `NULL` may not be written at a primary key column.
fn check_primary_nulls(create: &CreateTable) -> Result<(), SqlError> {
    let Some((KeyModel::Primary, keys)) = &create.keys else { return Ok(()) };
    let is_key = |column: &&ColumnDefinition| keys.iter().any(|key| key.eq_ignore_ascii_case(&column.name));
    match create.columns.iter().filter(is_key).find(|column| column.nullable == Some(true)) {
        Some(column) => Err(SqlError::analyzing(format!("primary key column[{}] cannot be nullable", column.name))),
        None => Ok(()),
    }
}

/// Columns a primary key table is partitioned by belong to its key (docs, Primary Key table). Partitions themselves are
/// not modelled, so only names are looked for in the clause.
fn check_partition_columns(create: &CreateTable) -> Result<(), SqlError> {
    let (Some((KeyModel::Primary, keys)), Some(clause)) = (&create.keys, &create.partition_by) else { return Ok(()) };
    for token in tokens(clause)? {
        let (TokenKind::Word(name) | TokenKind::Name(name)) = &token.kind else { continue };
        let is_column = create.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        if is_column && !keys.iter().any(|key| key.eq_ignore_ascii_case(name)) {
            return Err(SqlError::analyzing(format!("Partition column[{name}] is not key column")));
        }
    }
    Ok(())
}

fn checked_buckets(buckets: u64) -> Result<u32, SqlError> {
    match u32::try_from(buckets) {
        Ok(0) => Err(SqlError::analyzing("Number of hash distribution should be larger than zero")),
        // `max_bucket_number_per_partition`.
        Ok(number) if number <= 1024 => Ok(number),
        _ => Err(SqlError::new(
            5510,
            "42000",
            "Getting analyzing error. Detail message: The number of buckets is too large, the maximum is 1024. Please \
             reduce the number of buckets or increase frontend config max_bucket_number_per_partition..",
        )),
    }
}

fn aggregation(name: &str) -> Result<Aggregation, SqlError> {
    match name {
        "SUM" => Ok(Aggregation::Sum),
        "MIN" => Ok(Aggregation::Min),
        "MAX" => Ok(Aggregation::Max),
        "REPLACE" => Ok(Aggregation::Replace),
        "REPLACE_IF_NOT_NULL" => Ok(Aggregation::ReplaceIfNotNull),
        other => Err(SqlError::not_modelled(format!("the aggregation {other}"))),
    }
}

/// The type a written type stands for.
fn column_type(written: &TypeName) -> Result<SrType, SqlError> {
    let length = |default: u32| match written.arguments.first() {
        None => Ok(default),
        Some(number) => u32::try_from(*number).map_err(|_| too_long(&written.name, *number)),
    };
    Ok(match written.name.as_str() {
        "boolean" | "bool" => SrType::Boolean,
        "tinyint" => SrType::TinyInt,
        "smallint" => SrType::SmallInt,
        "int" | "integer" => SrType::Int,
        "bigint" => SrType::BigInt,
        "largeint" => SrType::LargeInt,
        "float" => SrType::Float,
        "double" => SrType::Double,
        "decimal" | "decimalv2" | "decimal32" | "decimal64" | "decimal128" => decimal(written)?,
        "date" => SrType::Date,
        "datetime" => SrType::DateTime,
        // Without a length, CHAR and VARCHAR hold one byte.
        "char" | "character" => SrType::Char(bounded("Char", length(1)?, MAX_CHAR_BYTES)?),
        "varchar" => SrType::Varchar(bounded("Varchar", length(1)?, MAX_VARCHAR_BYTES)?),
        "string" | "text" => SrType::Varchar(STRING_BYTES),
        "varbinary" | "binary" => {
            SrType::VarBinary(bounded("Varbinary", length(MAX_VARCHAR_BYTES)?, MAX_VARCHAR_BYTES)?)
        }
        "json" => SrType::Json,
        "array" => match &written.element {
            Some(element) => SrType::Array(Box::new(column_type(element)?)),
            None => return Err(SqlError::analyzing("Unsupported type specification: 'array'")),
        },
        "map" | "struct" | "hll" | "bitmap" | "percentile" | "variant" | "time" => {
            return Err(SqlError::not_modelled(format!("columns of type {}", written.name.to_uppercase())));
        }
        other => return Err(SqlError::analyzing(format!("Unsupported type specification: '{other}'"))),
    })
}

fn too_long(name: &str, length: u64) -> SqlError {
    SqlError::analyzing(format!("{name} size must be <= {MAX_VARCHAR_BYTES}: {length}"))
}

fn bounded(name: &str, length: u32, most: u32) -> Result<u32, SqlError> {
    match length {
        0 => Err(SqlError::analyzing(format!("{name} size must be > 0: 0"))),
        _ if length > most => Err(SqlError::analyzing(format!("{name} size must be <= {most}: {length}"))),
        _ => Ok(length),
    }
}

fn decimal(written: &TypeName) -> Result<SrType, SqlError> {
    let precision = written.arguments.first().copied().unwrap_or(10);
    let scale = written.arguments.get(1).copied().unwrap_or(0);
    let most = u64::from(MAX_DECIMAL_DIGITS);
    let (Ok(precision), Ok(scale)) = (u8::try_from(precision), u8::try_from(scale)) else {
        return Err(SqlError::analyzing(format!("DECIMAL's precision should range from 1 to {most}")));
    };
    if precision == 0 || precision > MAX_DECIMAL_DIGITS {
        return Err(SqlError::analyzing(format!("DECIMAL's precision should range from 1 to {most}")));
    }
    if scale > precision {
        return Err(SqlError::analyzing("DECIMAL's scale should be less than or equal to precision"));
    }
    Ok(SrType::Decimal { precision, scale })
}

/// A new table like an old one, for CREATE TABLE LIKE.
fn as_new(pattern: &TableDef, name: String) -> NewTable {
    NewTable {
        name,
        columns: pattern.columns.clone(),
        keys: Some((pattern.model, pattern.key().iter().map(|column| column.name.clone()).collect())),
        sort_key: pattern.sort_key.clone(),
        partition_by: pattern.partition_by.clone(),
        distribution: Some(pattern.distribution.clone()),
        buckets: pattern.buckets,
        comment: pattern.comment.clone(),
        properties: pattern.properties.clone().into_iter().collect(),
    }
}
