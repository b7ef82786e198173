//! Making a target table ready: described by the server, created or completed where that is allowed, checked, and its
//! backend looked for.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::ddl;
use super::options::Options;
use super::plan::Plan;
use super::reasons::{self, Code};
use super::sink::{LOOK_AGAIN, Prepared, StarRocks};
use super::sql::{Record, Sql};
use super::table::{self, Described, DescribedColumn};
use super::types::Target;
use crate::model::{Reason, TableSchema};

/// How long added columns have to become visible within one call of `prepare`.
const ALTER_PATIENCE: Duration = Duration::from_secs(60);
/// Schemas of one table whose plans are kept.
const PLANS_PER_TABLE: usize = 4;

impl StarRocks {
    /// Looks at one table and makes it ready; with `change` off it changes nothing, and `None` means that the table
    /// would be made ready.
    pub(super) async fn inspect(
        &self,
        sql: &mut Sql,
        schema: &TableSchema,
        change: bool,
    ) -> Result<Option<Plan>, Vec<Reason>> {
        let findings = table::names(schema, &self.options);
        if !findings.is_empty() {
            return Err(findings);
        }
        let mut described = self.describe(sql, schema).await.map_err(|reason| vec![reason])?;
        if described.is_none() {
            if self.options.create_tables && !change {
                return Ok(None);
            }
            self.create(sql, schema).await.map_err(|reason| vec![reason])?;
            described = self.describe(sql, schema).await.map_err(|reason| vec![reason])?;
        }
        let Some(mut described) = described else {
            return Err(vec![
                Code::TableMissing.reason(schema.name.to_string(), "the table made just now is not there"),
            ]);
        };
        if !table::missing_audit(&described, &self.options).is_empty() {
            if !change {
                return Ok(None);
            }
            described = self.add_audit(sql, schema, described).await.map_err(|reason| vec![reason])?;
        }
        table::fitted(schema, &described, &self.options).map(Some)
    }

    /// The target table as it is; `None` if there is none.
    pub(super) async fn describe(&self, sql: &mut Sql, schema: &TableSchema) -> Result<Option<Described>, Reason> {
        describe(&self.options, sql, schema).await
    }

    pub(super) async fn create(&self, sql: &mut Sql, schema: &TableSchema) -> Result<(), Reason> {
        let columns = table::wanted(schema, &self.options);
        let statement = ddl::create_table(&self.options.database, &schema.target, &columns, self.replication());
        let object = schema.name.to_string();
        if !self.options.create_tables {
            let message = format!("table {}.{} does not exist", self.options.database, schema.target);
            return Err(Code::TableMissing.reason(object, message).with_sql(statement + ";"));
        }
        tracing::info!(table = %schema.name, target = schema.target, "creating the target table");
        sql.run(&statement).await.map_err(|error| {
            let reason = error.reason(&self.options, &object, "creating the target table");
            if reason.sql.is_empty() { reason.with_sql(statement + ";") } else { reason }
        })
    }

    /// The server's default of three replicas cannot be met by a cluster of one or two backends.
    pub(super) fn replication(&self) -> Option<u16> {
        // Relaxed: the number alone matters.
        let few = match self.backends.load(Relaxed) {
            1 => Some(1),
            2 => Some(2),
            _ => None,
        };
        self.options.replication_num.or(few)
    }

    /// Adds the audit columns and waits until the server shows them: before that it would drop their values.
    pub(super) async fn add_audit(
        &self,
        sql: &mut Sql,
        schema: &TableSchema,
        now: Described,
    ) -> Result<Described, Reason> {
        let missing = table::missing_audit(&now, &self.options);
        let statement = ddl::add_columns(&self.options.database, &schema.target, &missing);
        let object = schema.name.to_string();
        tracing::info!(table = %schema.name, target = schema.target, "adding audit columns");
        match sql.run(&statement).await {
            Ok(()) => {}
            Err(error) if error.is_duplicate_column() => {}
            Err(error) => {
                let reason = error.reason(&self.options, &object, "adding audit columns");
                return Err(if reason.sql.is_empty() { reason.with_sql(statement + ";") } else { reason });
            }
        }
        let deadline = Instant::now() + ALTER_PATIENCE;
        loop {
            let described = self.describe(sql, schema).await?.unwrap_or_default();
            if table::missing_audit(&described, &self.options).is_empty() {
                return Ok(described);
            }
            if Instant::now() >= deadline {
                return Err(Code::Sql.reason(object, "the audit columns that were added are not visible yet"));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether a frontend names a backend for this table, the policy allows it, and it can be reached.
    pub(super) async fn probe(&self, schema: &TableSchema) -> Result<(), Reason> {
        let (wire, path) = (self.wire.clone(), self.path(&schema.target));
        let named = self.wire.pool.run(move |connection| wire.backend(connection, &path)).await;
        self.meter.reachable(named.as_ref().map_or_else(|reason| reason.code != Code::Unreachable.text(), |_| true));
        let backend = named.map_err(|reason| match reason.code == Code::Privilege.text() {
            true => reasons::privilege(&self.options, schema.name.to_string(), reason.message),
            false => reason,
        })?;
        let address = (backend.host.as_str(), backend.port);
        let text = match timeout(self.options.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let message = format!("a frontend sends loads to the backend {backend}, which cannot be reached: {text}");
        let remedy = "Check that the backend's HTTP port can be reached from here, or say by SINK_REDIRECT_MAP=from=to \
                      where it is. It is tried again by itself.";
        Err(Reason { remedy: remedy.into(), ..Code::Unreachable.reason(backend.to_string(), message) })
    }

    pub(super) fn keep(&self, schema: Arc<TableSchema>, plan: Plan) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let kept = tables.entry(schema.id).or_default();
        kept.retain(|prepared| *prepared.schema != *schema);
        kept.insert(0, Prepared { schema, plan: Arc::new(plan) });
        kept.truncate(PLANS_PER_TABLE);
    }
}

/// The target table as it is; `None` if there is none.
pub(super) async fn describe(
    options: &Options,
    sql: &mut Sql,
    schema: &TableSchema,
) -> Result<Option<Described>, Reason> {
    let object = schema.name.to_string();
    let (database, target) = (&options.database, &schema.target);
    let columns = match sql.rows(&format!("DESC {}", ddl::table(database, target))).await {
        Ok(rows) => rows,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.reason(options, &object, "reading the columns of the target table")),
    };
    let query = format!(
        "SELECT TABLE_MODEL, PRIMARY_KEY FROM information_schema.tables_config \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        ddl::text(database),
        ddl::text(target)
    );
    let config = sql.rows(&query).await;
    let config = config.map_err(|e| e.reason(options, &object, "reading the model of the target table"))?;
    Ok(Some(described(&columns, config.first())))
}

/// Puts together what `DESC` and `tables_config` say.
fn described(columns: &[Record], config: Option<&Record>) -> Described {
    let is_true = |text: &str| ["true", "yes", "pri"].contains(&text.to_ascii_lowercase().as_str());
    let by_desc = columns.iter().filter(|row| is_true(row.text("Key"))).map(|row| row.text("Field").to_owned());
    let by_config = config.and_then(|row| row.get("PRIMARY_KEY")).map(quoted_names).filter(|names| !names.is_empty());
    Described {
        key: by_config.unwrap_or_else(|| by_desc.collect()),
        model: config.and_then(|row| row.get("TABLE_MODEL")).map(str::to_owned),
        columns: columns
            .iter()
            .map(|row| DescribedColumn {
                name: row.text("Field").to_owned(),
                ty: Target::read(row.text("Type")),
                nullable: is_true(row.text("Null")),
                filled: row.get("Default").is_some() || !row.text("Extra").is_empty(),
            })
            .collect(),
    }
}

/// The names in a list like "`a`, `b`". A back-quote within a name is doubled.
fn quoted_names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = list;
    while let Some(start) = rest.find('`') {
        let mut name = String::new();
        rest = &rest[start + 1..];
        while let Some(end) = rest.find('`') {
            name.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('`') {
                Some(after) => {
                    name.push('`');
                    rest = after;
                }
                None => break,
            }
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_put_together() {
        let id = [("Field", "Id"), ("Type", "bigint(20)"), ("Null", "NO"), ("Key", "true"), ("Extra", "")];
        let at = [("Field", "at"), ("Type", "datetime"), ("Null", "YES"), ("Key", "false"), ("Default", "0")];
        let columns = [Record::from(id), Record::from(at)];
        let config = Record::from([("TABLE_MODEL", "PRIMARY_KEYS"), ("PRIMARY_KEY", "`Id`, `a``b`")]);
        let told = described(&columns, Some(&config));
        assert_eq!((told.model.as_deref(), told.key), (Some("PRIMARY_KEYS"), vec!["Id".to_owned(), "a`b".to_owned()]));
        assert_eq!(told.columns[0].ty, Target::Int(8));
        assert!(
            !told.columns[0].nullable && !told.columns[0].filled && told.columns[1].nullable && told.columns[1].filled
        );
        assert_eq!(described(&columns, None).key, ["Id"], "without tables_config the key is what DESC marks");
    }
}
