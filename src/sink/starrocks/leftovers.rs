//! Loads that an earlier life of this pipeline left unfinished.
//!
//! A process that was killed may have sent a body whole; the backend is then still at work on it, and would commit it
//! after the newer rows of the next process. So before the first load of a process, every unfinished load whose label
//! an earlier process of this pipeline made is found in `information_schema.loads` (StarRocks 3.1 and newer) and
//! cancelled or waited for. A body that was cut off never commits: it is no complete JSON.

use super::ddl;
use super::label::Labels;
use super::sql::Record;

/// One unfinished load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    pub(super) label: String,
    /// The table's name in the target, empty if the server did not tell.
    pub(super) table: String,
}

/// The query for unfinished loads. `_` in the prefix may match more: [`unfinished`] looks closely.
pub(super) fn query(database: &str, labels: &Labels) -> String {
    format!(
        "SELECT LABEL, TABLE_NAME, STATE FROM information_schema.loads \
         WHERE DB_NAME = {} AND LABEL LIKE {} AND STATE NOT IN ('FINISHED', 'CANCELLED')",
        ddl::text(database),
        ddl::text(&format!("{}%", labels.prefix())),
    )
}

/// Those among the rows that an earlier process of this pipeline made.
pub(super) fn unfinished(rows: &[Record], labels: &Labels) -> Vec<Leftover> {
    let earlier = |row: &&Record| {
        let finished = ["FINISHED", "CANCELLED"].contains(&row.text("STATE"));
        let made = labels.read(row.text("LABEL"));
        !finished && made.is_some_and(|label| label.incarnation != labels.incarnation())
    };
    let leftover = |row: &Record| Leftover { label: row.text("LABEL").into(), table: row.text("TABLE_NAME").into() };
    rows.iter().filter(earlier).map(leftover).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TableId;

    #[test]
    fn only_earlier_lives_of_this_pipeline_count() {
        let labels = Labels::new("shop");
        let own = labels.next(TableId(1));
        let rows: Vec<Record> = [
            ("shop-1-a-b", "LOADING"),
            ("shop-1-a-c-1", "PREPARED"),
            ("shop-1-a-d", "FINISHED"),
            ("shop-1-a-e", "CANCELLED"),
            ("shop-eu-1-a-b", "LOADING"),
            ("shop-nightly", "LOADING"),
            (own.as_str(), "LOADING"),
        ]
        .map(|(label, state)| Record::from([("LABEL", label), ("STATE", state), ("TABLE_NAME", "t")]))
        .into();
        let found: Vec<String> = unfinished(&rows, &labels).into_iter().map(|leftover| leftover.label).collect();
        assert_eq!(found, ["shop-1-a-b", "shop-1-a-c-1"]);
        assert!(query("it's", &labels).contains(r"DB_NAME = 'it\'s' AND LABEL LIKE 'shop-%'"));
    }
}
