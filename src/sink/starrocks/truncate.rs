//! Removing all rows of a table, once.
//!
//! A TRUNCATE whose answer was lost, or whose process was killed, may still be at work in the server and would empty
//! the table again after newer rows are in. So before each TRUNCATE an earlier one of the same table is looked for.
//! Not here: when a table is truncated (`pipeline`). Start at [`StarRocks::truncate_table`].

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ddl;
use super::reasons::Code;
use super::sink::{LOOK_AGAIN, StarRocks, by_class};
use super::sql::{Record, Sql};
use crate::model::TableSchema;
use crate::sink::LoadError;

/// How long an earlier TRUNCATE may take to end after it was told to, within one call.
const END_PATIENCE: Duration = Duration::from_secs(20);

impl StarRocks {
    /// Ends an earlier TRUNCATE of the table by `KILL`, waits until it is no longer listed, and then truncates.
    ///
    /// That is the best there is, and no proof: a frontend lists its own connections only (another may answer now than
    /// before), it does not list what it carries out for another frontend, and `KILL` does not undo a TRUNCATE that is
    /// about to take effect. If the server does not let us list, it is done without.
    pub(super) async fn truncate_table(&self, schema: &TableSchema) -> Result<(), LoadError> {
        let object = schema.name.to_string();
        let statement = format!("TRUNCATE TABLE {}", ddl::table(&self.options.database, &schema.target));
        let mut sql = Sql::connect(&self.options).await.map_err(by_class)?;
        let deadline = Instant::now() + END_PATIENCE;
        while self.end_earlier(&mut sql, &statement).await {
            if Instant::now() >= deadline {
                let message = "an earlier TRUNCATE of the target table does not end";
                return Err(LoadError::Retry(Code::Sql.reason(object, message)));
            }
            sleep(LOOK_AGAIN).await;
        }
        let done = sql.run(&statement).await;
        done.map_err(|error| by_class(error.reason(&self.options, &object, "truncating the target table")))
    }

    /// Whether the statement was still running elsewhere; it was told to end then.
    async fn end_earlier(&self, sql: &mut Sql, statement: &str) -> bool {
        // FULL: without it statements are cut off after 100 characters.
        let listed = match sql.rows("SHOW FULL PROCESSLIST").await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::debug!(%error, "an earlier TRUNCATE could not be looked for");
                return false;
            }
        };
        let earlier = running(&listed, statement, &self.options.user);
        for id in &earlier {
            tracing::warn!(statement, id, "ending a TRUNCATE whose outcome nobody waits for any more");
            if let Err(error) = sql.run(&format!("KILL {id}")).await {
                tracing::debug!(%error, id, "the TRUNCATE could not be told to end");
            }
        }
        !earlier.is_empty()
    }
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
