//! Removing all rows of a table, or those that are older than a version, once.
//!
//! A statement whose answer was lost, or whose process was killed, may still be at work in the server and would remove
//! newer rows when it takes effect: a DELETE or UPDATE removes the keys that it found at its start. So before each an
//! earlier one of the same table is looked for. Not here: when rows are removed (`pipeline`). Start at
//! [`StarRocks::truncate_table`] and [`StarRocks::sweep_table`].

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ddl;
use super::plan::Audit;
use super::reasons::Code;
use super::sink::{LOOK_AGAIN, StarRocks, by_class};
use super::sql::{Record, Sql};
use crate::model::{Lsn, TableSchema};
use crate::sink::LoadError;

/// How long a statement may take: as long as the server lets one by default that changes rows (`insert_timeout`).
const STATEMENT_TIME: Duration = Duration::from_secs(4 * 3600);
/// How long an earlier statement may take to end after it was told to, within one call.
const END_PATIENCE: Duration = Duration::from_secs(20);

impl StarRocks {
    /// Removes all rows.
    pub(super) async fn truncate_table(&self, schema: &TableSchema) -> Result<(), LoadError> {
        let statement = format!("TRUNCATE TABLE {}", ddl::table(&self.options.database, &schema.target));
        self.run_alone(schema, &statement, "truncating the target table").await
    }

    /// Removes the rows with a version below `before` or without one, as the table's deletes do. The version is kept
    /// in an audit column; without those there is nothing to go by.
    pub(super) async fn sweep_table(&self, schema: &TableSchema, before: Lsn) -> Result<(), LoadError> {
        let object = schema.name.to_string();
        let Some(plan) = self.plan(schema) else {
            let message = "the target was not made ready for this schema of the table";
            return Err(LoadError::Retry(Code::NotPrepared.reason(object, message)));
        };
        let Some(audit) = &plan.audit else {
            let message = "the target keeps no versions, so its rows of before the copy cannot be told from others";
            return Err(LoadError::Refused(Code::Schema.waiting(object, message)));
        };
        let table = ddl::table(&self.options.database, &schema.target);
        let statement = sweep(&table, audit, plan.hard_deletes, before);
        self.run_alone(schema, &statement, "removing rows that the source does not have from the target table").await
    }

    /// Ends an earlier run of the statement by `KILL`, waits until it is no longer listed, and then runs it.
    ///
    /// That is the best there is, and no proof: a frontend lists its own connections only (another may answer now than
    /// before), it does not list what it carries out for another frontend, and `KILL` does not undo a statement that
    /// is about to take effect. If the server does not let us list, it is done without.
    async fn run_alone(&self, schema: &TableSchema, statement: &str, doing: &str) -> Result<(), LoadError> {
        let object = schema.name.to_string();
        let mut sql = Sql::connect(&self.options).await.map_err(by_class)?;
        let deadline = Instant::now() + END_PATIENCE;
        while self.end_earlier(&mut sql, statement).await {
            if Instant::now() >= deadline {
                let message = format!("{doing}: an earlier try does not end");
                return Err(LoadError::Retry(Code::Sql.reason(object, message)));
            }
            sleep(LOOK_AGAIN).await;
        }
        let done = sql.run_within(STATEMENT_TIME, statement).await;
        done.map_err(|error| by_class(error.reason(&self.options, &object, doing)))
    }

    /// Whether the statement was still running elsewhere; it was told to end then.
    async fn end_earlier(&self, sql: &mut Sql, statement: &str) -> bool {
        // FULL: without it statements are cut off after 100 characters.
        let listed = match sql.rows("SHOW FULL PROCESSLIST").await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::debug!(%error, "an earlier try could not be looked for");
                return false;
            }
        };
        let earlier = running(&listed, statement, &self.options.user);
        for id in &earlier {
            tracing::warn!(statement, id, "ending a statement whose outcome nobody waits for any more");
            if let Err(error) = sql.run(&format!("KILL {id}")).await {
                tracing::debug!(%error, id, "the statement could not be told to end");
            }
        }
        !earlier.is_empty()
    }
}

/// Deletes rows, or marks them as deleted with the version they were looked for by.
fn sweep(table: &str, audit: &Audit, hard: bool, before: Lsn) -> String {
    let Audit { op_type, is_deleted, synced_at, cdc_version } = audit;
    let [op_type, is_deleted, synced_at, cdc_version] =
        [op_type, is_deleted, synced_at, cdc_version].map(|n| ddl::name(n));
    let Lsn(before) = before;
    let old = format!("({cdc_version} < {before} OR {cdc_version} IS NULL)");
    if hard {
        return format!("DELETE FROM {table} WHERE {old}");
    }
    format!(
        "UPDATE {table} SET {op_type} = 2, {is_deleted} = true, {synced_at} = utc_timestamp(), {cdc_version} = {before} \
         WHERE {old} AND ({is_deleted} = false OR {is_deleted} IS NULL)"
    )
}

/// The connections that run the statement for this user. An idle one may still be listed with its last statement.
fn running(listed: &[Record], statement: &str, user: &str) -> Vec<u64> {
    let ours = |row: &&Record| {
        let idle = row.text("Command").eq_ignore_ascii_case("sleep");
        let same_user = row.get("User").is_none_or(|listed| listed == user);
        !idle && same_user && row.text("Info").trim().trim_end_matches(';') == statement
    };
    listed.iter().filter(ours).filter_map(|row| row.text("Id").parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_rows_are_deleted_or_marked() {
        let [op_type, is_deleted, synced_at, cdc_version] = ["op", "gone", "at", "version"].map(str::to_owned);
        let audit = Audit { op_type, is_deleted, synced_at, cdc_version };
        let old = "(`version` < 7 OR `version` IS NULL)";
        assert_eq!(sweep("`d`.`t`", &audit, true, Lsn(7)), format!("DELETE FROM `d`.`t` WHERE {old}"));
        let marked = "UPDATE `d`.`t` SET `op` = 2, `gone` = true, `at` = utc_timestamp(), `version` = 7";
        let want = format!("{marked} WHERE {old} AND (`gone` = false OR `gone` IS NULL)");
        assert_eq!(sweep("`d`.`t`", &audit, false, Lsn(7)), want);
    }

    #[test]
    fn only_our_running_truncate_of_the_table_is_ended() {
        let statement = "TRUNCATE TABLE `shop`.`orders`";
        let cases = [
            ("ours", "1", "cdc", "Query", statement, true),
            ("ours, with a semicolon", "2", "cdc", "Query", "TRUNCATE TABLE `shop`.`orders`;", true),
            ("done", "3", "cdc", "Sleep", statement, false),
            ("another's", "4", "root", "Query", statement, false),
            ("another table", "5", "cdc", "Query", "TRUNCATE TABLE `shop`.`orders2`", false),
            ("a part of it", "6", "cdc", "Query", "TRUNCATE TABLE `shop`.`orders` PARTITION (p)", false),
            ("the look itself", "7", "cdc", "Query", "SHOW FULL PROCESSLIST", false),
            ("no number", "x", "cdc", "Query", statement, false),
        ];
        for (name, id, user, command, info, want) in cases {
            let row = Record::from([("Id", id), ("User", user), ("Command", command), ("Info", info)]);
            let found = running(&[row], statement, "cdc");
            assert_eq!(found, if want { vec![id.parse::<u64>().unwrap()] } else { vec![] }, "{name}");
        }
    }
}
